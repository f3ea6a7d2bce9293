"""Completes the folder of Allure results from the event log, so that nothing looks green by being absent."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from allure_commons.model2 import Attachment, StatusDetails, TestResult
from attr import asdict

from reports.allure_model import (
    LARGEST_ATTACHMENT,
    RESULTS,
    STATUS,
    Subject,
    describe,
    file_suffix,
    metrics_csv,
    shown_as,
)
from reports.events import AttachmentRecord, MetricRecord, ProbeFinished
from reports.hostile_text import one_line
from reports.identity import ProbeKey, history_id
from reports.reconcile import CellOutcome, ProbeOutcome, RunOutcome
from reports.verdict import CellVerdict

# Marks files of this module among those of allure-pytest, so that a second derivation replaces its own.
_MARK = "derived"

# Allure takes the first that matches; expressions are JavaScript's, and older Allure wants them to match the whole message.
CATEGORIES = (
    {"name": "Guest or hypervisor at fault", "matchedStatuses": ["failed"]},
    {"name": "Worker crashed", "matchedStatuses": ["broken"], "messageRegex": r"^[\s\S]*worker \S+ crashed[\s\S]*$"},
    {"name": "Harness or lab at fault", "matchedStatuses": ["broken"]},
    {"name": "No result where one was required", "matchedStatuses": ["unknown"]},
    {"name": "Cell not tested", "matchedStatuses": ["skipped"], "messageRegex": r"^untested: [\s\S]*$"},
    {"name": "Not applicable", "matchedStatuses": ["skipped"]},
)


def complete(outcome: RunOutcome, out: Path) -> dict[str, str]:
    """Write what `<out>/allure-results` lacks: crashed and missing probes, untested cells; all of it if the folder was lost.

    Deriving twice gives the same files. Returns by history id the fragment of each result's page in an Allure report.
    """
    folder = out / RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{_MARK}-*"):
        stale.unlink()
    present = _present(folder)
    for cell in outcome.cells:
        for result, attachments in _results(outcome, cell):
            if result.historyId not in present:
                _write(folder, out, result, attachments)
                present[result.historyId] = _anchor(result.uuid)
    _write_environment(outcome, folder)
    _write_json(
        folder / "executor.json",
        {"name": "guestcert", "type": "guestcert", "buildName": outcome.run.run_id, "reportName": report_name(outcome)},
    )
    _write_json(folder / "categories.json", CATEGORIES)
    _write_json(folder / f"{_MARK}-perf.json", [sample for cell in outcome.cells for sample in _samples(cell)])
    return present


def report_name(outcome: RunOutcome) -> str:
    """The title of the HTML report; holds the run id."""
    return f"guestcert {outcome.run.run_id}"


def metric_key(cell: CellOutcome, metric: MetricRecord) -> str:
    """The permanent key of a metric's history."""
    return f"{cell.id} {metric.name}"


def _present(folder: Path) -> dict[str, str]:
    found = {}
    for path in folder.glob("*-result.json"):
        try:
            document = json.loads(path.read_bytes())
        except ValueError:
            path.unlink()  # torn by a killed worker; Allure would stumble over it, and the event log knows better
            continue
        found[str(document.get("historyId"))] = _anchor(str(document.get("uuid")))
    return found


def _anchor(result_uuid: str) -> str:
    # Allure 3 makes the id of a result's page from its uuid (core/store/convert.js).
    return hashlib.md5(result_uuid.encode(), usedforsecurity=False).hexdigest()


def _results(outcome: RunOutcome, cell: CellOutcome) -> Iterator[tuple[TestResult, tuple[AttachmentRecord, ...]]]:
    if cell.verdict is CellVerdict.UNTESTED:
        key = ProbeKey(cell.id, "cell/untested")
        yield _result(outcome, cell, key, status="skipped", message=f"untested: {cell.reason}", required=False), ()
    for probe in cell.probes:
        for finished in probe.results:
            yield _of_event(outcome, cell, probe, finished), finished.attachments
        if probe.verdict is None and not probe.results:
            key = ProbeKey(cell.id, probe.probe)
            yield (
                _result(
                    outcome, cell, key, status="unknown", message=f"missing: {probe.reason}", required=probe.required
                ),
                (),
            )


def _of_event(outcome: RunOutcome, cell: CellOutcome, probe: ProbeOutcome, finished: ProbeFinished) -> TestResult:
    key = ProbeKey(cell.id, probe.probe, finished.variant)
    result = _result(
        outcome,
        cell,
        key,
        status=STATUS[finished.verdict],
        message=finished.reason,
        required=probe.required,
        worker=finished.worker,
    )
    if result.statusDetails is not None:
        result.statusDetails.trace = finished.detail
    result.description = describe(finished.description, finished.metrics, finished.facts)
    result.start = round(finished.started * 1000)
    result.stop = round((finished.started + finished.duration) * 1000)
    if finished.metrics:
        result.attachments.append(Attachment(name="metrics", source=metrics_csv(finished.metrics), type="text/csv"))
    return result


def _result(
    outcome: RunOutcome,
    cell: CellOutcome,
    key: ProbeKey,
    *,
    status: str,
    message: str | None,
    required: bool,
    worker: str = "none",
) -> TestResult:
    at = round(outcome.last_at * 1000)
    result = TestResult(start=at, stop=at, status=status, stage="finished")
    result.statusDetails = StatusDetails(message=message) if message else None
    Subject(
        key=key,
        guest=cell.plan.guest.id,
        hypervisor=cell.plan.hypervisor.id,
        extension=cell.plan.extension.id,
        required=required,
        host=cell.plan.host,
        worker=worker,
        issues=cell.plan.known_issues,
    ).put_into(result)
    result.uuid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{outcome.run.run_id} {history_id(key)}"))
    return result


def _write(folder: Path, out: Path, result: TestResult, evidence: tuple[AttachmentRecord, ...]) -> None:
    for number, attachment in enumerate(result.attachments):
        name = f"{_MARK}-{result.uuid}-{number}-attachment.csv"
        (folder / name).write_text(attachment.source)
        attachment.source = name
    for number, record in enumerate(evidence, start=len(result.attachments)):
        source = (out / record.path).resolve()
        if record.size > LARGEST_ATTACHMENT or not source.is_relative_to(out.resolve()) or not source.is_file():
            continue
        name = f"{_MARK}-{result.uuid}-{number}-attachment.{file_suffix(record)}"
        shutil.copyfile(source, folder / name)
        result.attachments.append(Attachment(name=record.name, source=name, type=shown_as(record.mime)))
    _write_json(
        folder / f"{_MARK}-{result.uuid}-result.json",
        asdict(result, filter=lambda _, value: bool(value) or value is False),
    )


def _samples(cell: CellOutcome) -> Iterator[dict[str, Any]]:
    for probe in cell.probes:
        for finished in probe.results:
            for metric in finished.metrics:
                start = round(finished.started * 1000)
                yield {
                    "id": f"{history_id(ProbeKey(cell.id, probe.probe, finished.variant))}-{metric.name}",
                    "key": metric_key(cell, metric),
                    "value": metric.value,
                    "title": metric.name,
                    "unit": metric.unit,
                    "better": metric.direction.value,
                    "group": cell.id,
                    "start": start,
                    "stop": start + round(finished.duration * 1000),
                }


def _write_environment(outcome: RunOutcome, folder: Path) -> None:
    facts = {
        "run": outcome.run.run_id,
        "profile": outcome.run.profile.id,
        "plan digest": outcome.run.plan_digest,
        **dict(sorted(outcome.run.versions.items())),
    }
    for host in outcome.hosts:
        facts[host.host] = host.uri
        facts |= {
            f"{host.host} {name}": "unknown" if value is None else str(value)
            for name, value in sorted(host.capabilities.items())
            if name.endswith("_version")
            or name in {"cpus", "memory_mib"}
            or (name.startswith("accelerator.") and value)
        }
    lines = [f"{_escape(name).replace(' ', chr(92) + ' ')} = {_escape(value)}" for name, value in facts.items()]
    _replace(folder / "environment.properties", "\n".join(lines) + "\n")


def _escape(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace("=", "\\=").replace(":", "\\:").replace("#", "\\#")


def _write_json(path: Path, document: Any) -> None:
    _replace(path, json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
