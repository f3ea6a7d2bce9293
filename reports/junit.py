"""JUnit XML from a run's outcome, for CI systems: a test suite a cell, a test case a probe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from lxml import etree

from reports.hostile_text import clean
from reports.reconcile import CellOutcome, ProbeOutcome, RunOutcome
from reports.verdict import CellVerdict, Verdict

# What XML 1.0 (section 2.2) cannot hold, beyond what `clean` has replaced already.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcome: RunOutcome) -> bytes:
    """The document, UTF-8. A missing probe is an `error`; an untested cell is one skipped test case."""
    root = etree.Element("testsuites", name=_text(f"guestcert {outcome.run.run_id}"))
    for cell in outcome.cells:
        root.append(_suite(cell, outcome.run.at, outcome.run.versions))
    for failure in outcome.collection_failures:
        case = etree.SubElement(
            etree.SubElement(root, "testsuite", name="collection"), "testcase", name=_text(failure.node)
        )
        _problem(case, "error", "the probe file could not be read", failure.message)
    for suite in root:
        _count(suite)
    for attribute in ("tests", "failures", "errors", "skipped"):
        root.set(attribute, str(sum(int(suite.get(attribute, "0")) for suite in root)))
    root.set("time", f"{outcome.duration:.3f}")
    return etree.tostring(root, xml_declaration=True, encoding="utf-8", pretty_print=True)


def _suite(cell: CellOutcome, started: float, versions: Mapping[str, str]) -> etree._Element:
    suite = etree.Element(
        "testsuite",
        name=_text(cell.id),
        hostname=_text(cell.plan.host or "none"),
        time=f"{cell.duration:.3f}",
        timestamp=datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    )
    properties = etree.SubElement(suite, "properties")
    for name, value in (
        ("verdict", cell.verdict.value),
        ("reason", cell.reason),
        ("guest", cell.plan.guest.id),
        ("hypervisor", cell.plan.hypervisor.id),
        ("extension", cell.plan.extension.id),
        *((f"version {name}", version) for name, version in sorted(versions.items())),
    ):
        etree.SubElement(properties, "property", name=_text(name), value=_text(value))
    if cell.verdict is CellVerdict.UNTESTED:
        case = etree.SubElement(suite, "testcase", classname=_text(cell.id), name="untested", time="0")
        etree.SubElement(case, "skipped", message=_text(cell.reason))
    for probe in cell.probes:
        suite.append(_case(cell, probe))
    return suite


def _case(cell: CellOutcome, probe: ProbeOutcome) -> etree._Element:
    area, _, name = probe.probe.partition("/")
    case = etree.Element(
        "testcase", classname=_text(f"{cell.id}.{area}"), name=_text(name), time=f"{probe.duration:.3f}"
    )
    metrics = [metric for result in probe.results for metric in result.metrics]
    properties = etree.SubElement(case, "properties")
    etree.SubElement(properties, "property", name="required", value=str(probe.required).lower())
    for metric in metrics:
        etree.SubElement(
            properties, "property", name=_text(f"{metric.name} [{metric.unit}]"), value=f"{metric.value:g}"
        )
    detail = "\n\n".join(filter(None, (result.detail for result in probe.results)))
    reason = probe.reason or probe.word
    if probe.verdict is Verdict.FAIL:
        _problem(case, "failure", reason, detail)
    elif probe.verdict is Verdict.ERROR:
        _problem(case, "error", reason, detail)
    elif probe.verdict is Verdict.SKIP:
        etree.SubElement(case, "skipped", message=_text(reason))
    elif probe.verdict is None:
        _problem(case, "error", f"missing: {reason}", detail)
    attachments = [attachment.path for result in probe.results for attachment in result.attachments]
    if attachments:
        etree.SubElement(case, "system-out").text = _text("\n".join(f"evidence: {path}" for path in attachments))
    return case


def _problem(case: etree._Element, kind: str, message: str, detail: str) -> None:
    element = etree.SubElement(case, kind, message=_text(message), type=kind)
    element.text = _text(detail)


def _count(suite: etree._Element) -> None:
    for attribute, path in (
        ("tests", "testcase"),
        ("failures", "testcase/failure"),
        ("errors", "testcase/error"),
        ("skipped", "testcase/skipped"),
    ):
        suite.set(attribute, str(len(suite.findall(path))))


def _text(value: str) -> str:
    return _NOT_XML.sub("\ufffd", clean(value))
