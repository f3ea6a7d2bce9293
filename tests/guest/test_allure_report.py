"""The HTML report, for real: Allure installed from its lock file, generated without a network, opened from disk.

No guest is needed; it is here because the first installation takes a minute.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from matrix.places import cache_dir
from reports.allure_html import generate, without_analytics
from reports.allure_install import AllureCli, ReportFault, lock_digest
from reports.allure_results import complete
from reports.derive import derive
from reports.event_log import EventWriter, read_events
from reports.events import CellPlanned, Event, MetricRecord, Named, ProbeFinished, ProfileRecord, RunStarted
from reports.identity import ProbeKey, history_id
from reports.reconcile import RunOutcome, reconcile
from reports.verdict import Verdict

CELL = "debian-12+qemu-tcg+none"


def outcome_of(run_id: str, verdict: Verdict, out: Path) -> RunOutcome:
    """A run of one probe, with its events on disk."""
    profile = ProfileRecord(id="trial", required=("boot/cold_boot",))
    started = RunStarted(at=1e9, run_id=run_id, versions={}, command=(), profile=profile, plan_digest="sha256:0")
    planned = CellPlanned(
        at=1e9,
        cell=CELL,
        guest=Named(id="debian-12"),
        hypervisor=Named(id="qemu-tcg"),
        extension=Named(id="none"),
        host="local",
    )
    finished = ProbeFinished(
        at=1e9 + 9,
        node="n",
        cell=CELL,
        probe="boot/cold_boot",
        worker="gw0",
        verdict=verdict,
        reason="</script><script>document.title='owned'</script>",
        started=1e9,
        duration=8.5,
        metrics=(MetricRecord(name="boot: ready", value=8.25, unit="s", direction="lower"),),
        description="Boots.\n\nExpected: ready <img src=x onerror=\"document.title='owned'\">",
    )
    # One result of every kind, because a report is only as good as its worst category.
    others = [
        finished.model_copy(
            update={"probe": f"boot/{each.value}", "verdict": each, "reason": f"worker gw0 crashed\n{each}"}
        )
        for each in Verdict
    ]
    untested = planned.model_copy(update={"cell": "debian-12+kvm+svm", "host": None, "reason": "no host offers svm"})
    missing = planned.model_copy(update={"cell": "debian-13+qemu-tcg+none", "guest": Named(id="debian-13")})
    events: list[Event] = [started, planned, untested, missing, finished, *others]
    with EventWriter(out) as writer:
        for event in events:
            writer.write(event)
    outcome = reconcile(events)
    complete(outcome, out)
    return outcome


@pytest.fixture(scope="module")
def cli() -> AllureCli:
    made = AllureCli(cache_dir())
    made.prepare()
    made.command()
    return made


@pytest.fixture(scope="module")
def reports(cli: AllureCli, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two runs after another with one cache; the second one generated twice. Returns cache and run folders."""
    base = tmp_path_factory.mktemp("reports")
    cache, first, second = base / "cache", base / "first", base / "second"
    generate(outcome_of("run-1", Verdict.PASS, first), first, cli, cache)
    outcome = outcome_of("run-2", Verdict.FAIL, second)
    (second / "report").mkdir()
    (second / "report" / "stale.html").write_text("old")
    generate(outcome, second, cli, cache)
    generate(outcome, second, cli, cache)
    return cache, first, second


def test_history_has_each_run_once(reports: tuple[Path, Path, Path]) -> None:
    cache, _, _ = reports
    lines = [json.loads(line) for line in (cache / "allure" / "history.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == ["guestcert run-1", "guestcert run-2"]
    histories = [set(line["testResults"]) for line in lines]
    assert histories[0] == histories[1], "the same probe in the same cell must have one history id"


def test_the_folder_holds_the_new_report_only(reports: tuple[Path, Path, Path]) -> None:
    _, _, second = reports
    assert not (second / "report" / "stale.html").exists()
    assert not [path for path in second.iterdir() if path.name.startswith(".report")]


def test_nothing_is_loaded_from_elsewhere(reports: tuple[Path, Path, Path]) -> None:
    page = (reports[2] / "report" / "index.html").read_text()
    assert "googletagmanager" not in page
    assert "gtag(" not in page
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page)


def test_it_is_made_without_a_network(cli: AllureCli, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not make a network namespace")
    out = tmp_path / "out"
    outcome = outcome_of("run-3", Verdict.PASS, out)

    class Isolated(AllureCli):
        def command(self) -> tuple[str, ...]:
            return ("unshare", "-rn", *cli.command())

    assert generate(outcome, out, Isolated(tmp_path), tmp_path).stat().st_size > 1_000_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_it_opens_from_disk_and_shows_the_probe(reports: tuple[Path, Path, Path], tmp_path: Path) -> None:
    second = reports[2]
    anchor = complete(reconcile(read_events(second)), second)[history_id(ProbeKey(CELL, "boot/cold_boot"))]
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"{(second / 'report' / 'index.html').as_uri()}#{anchor}",
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert "cold boot" in done.stdout
    assert 'data-active-pane="testResult"' in done.stdout, "the link did not open the probe's page"
    assert "<title>owned" not in done.stdout


def test_a_failing_generator_leaves_results_and_older_report(
    cli: AllureCli, reports: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    outcome = outcome_of("run-4", Verdict.PASS, out)
    shutil.copytree(reports[1] / "report", out / "report")

    class Broken(AllureCli):
        def command(self) -> tuple[str, ...]:
            return (cli.command()[0], "-e", "console.error('out of memory'); process.exit(7)")

    derived = derive(outcome, out, tmp_path, Broken(tmp_path))
    assert derived.faults == ("Allure report: Allure ended with status 7: out of memory",)
    assert derived.index is not None
    assert (out / "summary.json").exists()
    assert (out / "report" / "index.html").exists()


def test_a_page_with_a_foreign_script_is_not_published() -> None:
    with pytest.raises(ReportFault, match="would load"):
        without_analytics('<html><script src="https://cdn.example.org/x.js"></script></html>')


def test_one_installation_for_everybody(cli: AllureCli) -> None:
    assert cli.installed
    places = [path.name for path in (cache_dir() / "allure").iterdir() if path.is_dir()]
    assert lock_digest() in places
    assert not [name for name in places if name.endswith(".part")]


def test_an_installation_that_cannot_work_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "empty"))
    cli = AllureCli(tmp_path / "cache")
    cli.prepare()
    with pytest.raises(ReportFault) as caught:
        cli.command()
    assert "npm ci ended with status" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "cache" / "allure").iterdir() if path.is_dir()] == []


def test_the_lock_file_names_no_address() -> None:
    lock = Path(__file__).parents[2] / "reports" / "allure" / "package-lock.json"
    packages = json.loads(lock.read_text())["packages"]
    assert all("resolved" not in package for package in packages.values())
    assert all(name == "" or package["integrity"].startswith("sha512-") for name, package in packages.items())
    assert lock.stat().st_size > 10_000
