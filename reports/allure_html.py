"""The Allure 3 report as one HTML file that opens from disk: generated offline, without analytics, with history."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from reports.allure_install import AllureCli, ReportFault
from reports.allure_model import RESULTS
from reports.allure_results import CATEGORIES, metric_key, report_name
from reports.hostile_text import one_line
from reports.reconcile import RunOutcome

REPORT = "report"
_GENERATE_SECONDS = 300.0
_HISTORY_RUNS = 50

# Allure embeds Google's tag: a script element that loads it and an inline one that feeds it.
_SCRIPT = re.compile(r"\s*<script\b[^>]*>(?:(?!</script>).)*</script>", re.DOTALL)
_ANALYTICS = re.compile(r"googletagmanager|google-analytics|\bgtag\s*\(", re.IGNORECASE)
_REMOTE = re.compile(
    r"""<(?:script|link|img|iframe|object|embed)\b[^>]*\b(?:src|href|data)\s*=\s*["']?\s*(?:https?:)?//[^"'>\s]*""",
    re.IGNORECASE,
)


def generate(outcome: RunOutcome, out: Path, cli: AllureCli, cache: Path) -> Path:
    """Make `<out>/report/index.html` from `<out>/allure-results`; returns its path. Raises ReportFault.

    An older report is replaced only when the new one is complete.
    """
    command = cli.command()
    history = cache / "allure" / "history.jsonl"
    with tempfile.TemporaryDirectory(prefix=".report-", dir=out, ignore_cleanup_errors=True) as name:
        work = Path(name)
        _snapshot_history(history, work / "history.jsonl", outcome)
        (work / "allurerc.json").write_text(json.dumps(configuration(outcome, work), ensure_ascii=False, indent=1))
        said = _run(
            [*command, "generate", str(out / RESULTS), "--config", str(work / "allurerc.json"), "--cwd", str(work)],
            work,
        )
        page = _page(work / "report", said)
        text = without_analytics(page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")
        _swap(page.parent, out / REPORT)
        _append_history(history, work / "history.jsonl", outcome)
    return out / REPORT / "index.html"


def configuration(outcome: RunOutcome, work: Path) -> dict[str, Any]:
    """allurerc.json: one plugin, one file, guest / hypervisor / area as the tree, metrics with units and direction."""
    title = report_name(outcome)
    return {
        "name": title,
        "output": str(work / "report"),
        "historyPath": str(work / "history.jsonl"),
        "historyLimit": _HISTORY_RUNS,
        "appendHistory": True,
        "categories": list(CATEGORIES),
        # They repeat epic, feature and story, which people filter by; the tree is still made of them.
        "hideLabels": ["parentSuite", "suite", "subSuite", "package", "framework", "language"],
        "plugins": {
            "awesome": {
                "options": {
                    "reportName": title,
                    "singleFile": True,
                    "reportLanguage": "en",
                    "theme": "auto",
                    "groupBy": ["parentSuite", "suite", "subSuite"],
                    "sections": ["charts", "timeline", "metrics"],
                }
            }
        },
        "performance": {
            "groups": {cell.id: {"title": cell.id} for cell in outcome.cells},
            "metrics": {
                metric_key(cell, metric): {
                    "title": metric.name,
                    "unit": metric.unit,
                    "better": metric.direction.value,
                    "group": cell.id,
                }
                for cell in outcome.cells
                for metric in cell.metrics
            },
        },
    }


def without_analytics(page: str) -> str:
    """The page without scripts that load or feed an analytics tag.

    Raises ReportFault if the page would still load anything from elsewhere.
    """
    page = _SCRIPT.sub(lambda match: "" if _ANALYTICS.search(match[0][:4096]) else match[0], page)
    remote = _REMOTE.search(page)
    if remote:
        raise ReportFault(f"the report would load {one_line(remote[0], 120)}; not published")
    return page


def _run(command: list[str], work: Path) -> str:
    """Returns what Allure said, in one line; it also says things when it succeeds, and succeeds when a plugin failed."""
    # A small environment: Allure changes its behaviour by CI and agent variables, and a report must not depend on them.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env=environment | {"NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GENERATE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ReportFault(f"Allure did not finish within {_GENERATE_SECONDS:.0f} s") from error
    except OSError as error:
        raise ReportFault(f"cannot run Allure: {error}") from error
    said = one_line((done.stderr.strip() or done.stdout.strip() or b"no output").decode("utf-8", "replace"), 300)
    if done.returncode != 0:
        raise ReportFault(f"Allure ended with status {done.returncode}: {said}")
    return said


def _page(folder: Path, said: str) -> Path:
    # With one plugin Allure writes index.html straight into the output folder; with more, one folder each.
    for candidate in (folder / "index.html", folder / "awesome" / "index.html"):
        if candidate.is_file() and candidate.stat().st_size > 100_000:
            return candidate
    raise ReportFault(f"Allure wrote no report: {said}")


def _swap(new: Path, place: Path) -> None:
    old = place.with_name(f".{place.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _entries(path: Path, outcome: RunOutcome) -> list[str]:
    """History lines of other runs; a report that is made again must not count its run twice."""
    lines = []
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []
    kept = []
    for line in lines:
        try:
            if json.loads(line).get("name") != report_name(outcome):
                kept.append(line)
        except ValueError:
            continue  # torn by a killed process; the other runs still count
    return kept


def _snapshot_history(shared: Path, private: Path, outcome: RunOutcome) -> None:
    shared.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{shared}.lock"):
        private.write_text("".join(_entries(shared, outcome)), encoding="utf-8")


def _append_history(shared: Path, private: Path, outcome: RunOutcome) -> None:
    mine = private.read_text(encoding="utf-8").splitlines(keepends=True)[-1:]
    with FileLock(f"{shared}.lock"):
        lines = [*_entries(shared, outcome), *mine][-_HISTORY_RUNS:]
        temporary = shared.with_name(f"{shared.name}.tmp")
        temporary.write_text("".join(lines), encoding="utf-8")
        temporary.replace(shared)
