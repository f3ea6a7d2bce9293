"""How guestcert's words look in Allure: permanent identity, labels, descriptions, links. Used for real and synthetic results."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Protocol

from allure_commons.model2 import Label, Link, Parameter, TestResult

from reports.events import AttachmentRecord, Fact, MetricRecord
from reports.identity import ProbeKey, history_id, label_value, probe_digest
from reports.verdict import Verdict

RESULTS = "allure-results"
LARGEST_ATTACHMENT = 8 * 1024 * 1024
"""Bytes. The report is one file; larger evidence stays in the evidence folder and the report names it."""

STATUS = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "failed",
    Verdict.ERROR: "broken",
    Verdict.SKIP: "skipped",
    None: "unknown",
}


class Issue(Protocol):
    """A known issue, of the plan or of the event log."""

    @property
    def reason(self) -> str: ...
    @property
    def link(self) -> str | None: ...
    @property
    def probes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What a result is about. Only `key` makes identity; `host` and `worker` are labels, which Allure leaves out of it."""

    key: ProbeKey
    guest: str
    hypervisor: str
    extension: str
    required: bool
    host: str | None
    worker: str
    issues: Sequence[Issue] = ()

    def put_into(self, result: TestResult) -> None:
        """Set everything of `result` that depends on the cell and the probe alone."""
        area, _, name = self.key.probe.partition("/")
        place = self.hypervisor if self.extension == "none" else f"{self.hypervisor} + {self.extension}"
        variant = label_value(self.key.variant) if self.key.variant else None
        title = name.replace("_", " ")
        result.name = f"{title} ({variant})" if variant else title
        result.fullName = label_value(self.key.probe)
        result.testCaseId = probe_digest(self.key.probe)
        result.historyId = history_id(self.key)
        result.titlePath = [self.guest, place, area]
        axes = {"guest": self.guest, "hypervisor": self.hypervisor, "extension": self.extension, "variant": variant}
        result.parameters = [Parameter(name=axis, value=label_value(value)) for axis, value in axes.items() if value]
        labels = {
            "parentSuite": self.guest,
            "suite": place,
            "subSuite": area,
            "epic": self.guest,
            "feature": place,
            "story": area,
            "package": f"{self.guest}.{area}",
            "severity": "critical" if self.required else "normal",
            "tag": "required" if self.required else "optional",
            "host": self.host or "none",
            "thread": self.worker,
            "framework": "guestcert",
            "language": "python",
        }
        result.labels = [Label(name=label, value=value) for label, value in labels.items()]
        result.links = [
            Link(type="issue", url=issue.link, name=issue.reason)
            for issue in self.issues
            if issue.link and (not issue.probes or any(fnmatchcase(self.key.probe, glob) for glob in issue.probes))
        ]


def shown_as(mime: str) -> str:
    """The type under which a report shows evidence: a page that came from a guest is shown as text, never rendered."""
    kind = mime.partition(";")[0].strip().lower()
    return "text/plain" if kind in {"text/html", "application/xhtml+xml"} else kind


def file_suffix(record: AttachmentRecord) -> str:
    """The suffix (no dot) under which Allure keeps a copy of the evidence."""
    suffix = PurePosixPath(record.path).suffix.lstrip(".").lower()
    return suffix if re.fullmatch(r"[a-z0-9]{1,8}", suffix) and "htm" not in suffix else "txt"


def metrics_csv(metrics: Iterable[MetricRecord]) -> str:
    """Metrics as the table that Allure renders."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["metric", "value", "unit", "better"])
    writer.writerows([metric.name, f"{metric.value:g}", metric.unit, metric.direction.value] for metric in metrics)
    return table.getvalue()


def describe(docstring: str, metrics: Iterable[MetricRecord], facts: Mapping[str, Fact]) -> str:
    """Markdown: the docstring with its Preconditions / Steps / Expected in bold, then metrics and facts as tables."""
    lines = [
        re.sub(r"^(\w[\w ]{0,40}):", r"**\1:**", html.escape(line, quote=False)) + "  " if line.strip() else ""
        for line in docstring.splitlines()
    ]
    parts = ["\n".join(lines).strip()]
    measured = [f"| {_cell(m.name)} | {m.value:g} | {_cell(m.unit)} | {m.direction.value} |" for m in metrics]
    if measured:
        parts.append("\n".join(["| metric | value | unit | better |", "|---|---:|---|---|", *measured]))
    known = [
        f"| {_cell(name)} | {_cell('unknown' if value is None else str(value))} |"
        for name, value in sorted(facts.items())
    ]
    if known:
        parts.append("\n".join(["| fact | value |", "|---|---|", *known]))
    return "\n\n".join(filter(None, parts))


def _cell(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", html.escape(text, quote=False))
