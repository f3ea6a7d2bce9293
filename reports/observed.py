"""What one phase of a probe left behind, as it travels from the worker to the controller."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from fixtures.observation import Attachment, Metric, Step
from reports.events import AttachmentRecord, Fact, MetricRecord, StepRecord
from reports.hostile_text import Line, Text
from reports.verdict import Verdict

PROPERTY = "guestcert"
"""The key in `report.user_properties`, which pytest-xdist carries."""


class Observed(BaseModel):
    """One phase: its verdict and what was observed during it (not before)."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    reason: Line | None = None
    detail: Text | None = None
    metrics: list[MetricRecord] = []
    attachments: list[AttachmentRecord] = []
    facts: dict[Line, Fact] = {}
    steps: list[StepRecord] = []
    description: Text = ""

    def put_into(self, report: pytest.TestReport) -> None:
        report.user_properties.append((PROPERTY, self.model_dump_json()))

    @classmethod
    def of(cls, report: pytest.TestReport) -> Observed | None:
        """What `put_into` put there, None if nothing did (a report made up for a crash)."""
        for name, value in report.user_properties:
            if name == PROPERTY:
                return cls.model_validate_json(str(value))
        return None


def metric_record(metric: Metric) -> MetricRecord:
    """Raises pydantic.ValidationError for a value that is no finite number."""
    return MetricRecord(name=metric.name, value=metric.value, unit=metric.unit, direction=metric.direction)


def attachment_record(attachment: Attachment, out: Path) -> AttachmentRecord:
    """Raises ValueError for a file outside the run folder `out`, OSError for one that is not there."""
    path = attachment.path.resolve(strict=True)
    if not path.is_relative_to(out.resolve()):
        raise ValueError(f"evidence {attachment.path} is outside the run folder {out}")
    relative = path.relative_to(out.resolve()).as_posix()
    return AttachmentRecord(name=attachment.name, path=relative, mime=attachment.mime, size=path.stat().st_size)


def step_record(step: Step, depth: int) -> StepRecord:
    return StepRecord(
        title=step.title,
        depth=depth,
        started=step.started,
        duration=max(0.0, step.finished - step.started),
        error=step.error,
    )


def fact_records(facts: Mapping[str, str | int | float | bool | None]) -> dict[str, Fact]:
    """Facts with numbers that JSON cannot hold written out as words."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in facts.items()
    }
