"""The schema of events.jsonl, version 1: one JSON object a line, in the order of happening. See docs/events.md."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

from fixtures.observation import Direction
from reports.hostile_text import Line, PathText, Text
from reports.verdict import CellVerdict, Verdict

SCHEMA = 1

Fact = bool | int | FiniteFloat | Line | None


class _Record(BaseModel):
    """Read tolerantly: a later writer of the same schema version may add fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Event(_Record):
    at: FiniteFloat
    """Seconds of the Unix epoch, clock of the controller."""


class Named(_Record):
    """A guest, hypervisor or extension."""

    id: Line
    name: Line = ""


class ProfileRecord(_Record):
    """The resolved profile: what had to be probed."""

    id: Line
    required: tuple[Line, ...]
    optional: tuple[Line, ...] = ()


class KnownIssue(_Record):
    """A known issue of a cell, as a rule names it; `probes` are globs over probe ids, none for all."""

    rule: Line
    reason: Line
    link: Line | None = None
    probes: tuple[Line, ...] = ()


class MetricRecord(_Record):
    """One measured number."""

    name: Line
    value: FiniteFloat
    unit: Line
    direction: Direction


class AttachmentRecord(_Record):
    """A file of evidence; `path` is relative to the run folder, with `/`; `size` in bytes."""

    name: Line
    path: PathText
    mime: Line
    size: int


class StepRecord(_Record):
    """A step; `depth` 0 is outermost; `started` in epoch seconds, `duration` in seconds."""

    title: Line
    depth: int
    started: FiniteFloat
    duration: FiniteFloat
    error: Line | None = None


class RunStarted(_Event):
    """The first event of every run."""

    event: Literal["run_started"] = "run_started"
    schema_version: int = SCHEMA
    run_id: Line
    versions: dict[Line, Line]
    command: tuple[Line, ...]
    profile: ProfileRecord
    plan_digest: Line
    checkpoint_reuse: bool = True


class HostMeasured(_Event):
    """What a host was measured to offer; None means unknown."""

    event: Literal["host_measured"] = "host_measured"
    host: Line
    uri: Line
    capabilities: dict[Line, Fact]


class CellPlanned(_Event):
    """A cell of the run: bound to `host`, or untested because of `reason`."""

    event: Literal["cell_planned"] = "cell_planned"
    cell: Line
    guest: Named
    hypervisor: Named
    extension: Named
    host: Line | None
    reason: Line | None = None
    known_issues: tuple[KnownIssue, ...] = ()


class ProbesCollected(_Event):
    """Node ids that were selected; an expected probe that is not among them was deselected or does not exist."""

    event: Literal["probes_collected"] = "probes_collected"
    nodes: tuple[Line, ...]


class CollectionFailed(_Event):
    """A probe file could not be read: bad input."""

    event: Literal["collection_failed"] = "collection_failed"
    node: Line
    message: Text


class ProbeStarted(_Event):
    """A probe began on a worker (`controller` without xdist)."""

    event: Literal["probe_started"] = "probe_started"
    node: Line
    cell: Line | None
    probe: Line
    variant: Line | None = None


class ProbeFinished(_Event):
    """A probe ended, in whatever way. `variant` tells several runs of one probe in one cell apart."""

    event: Literal["probe_finished"] = "probe_finished"
    node: Line
    cell: Line | None
    probe: Line
    variant: Line | None = None
    worker: Line
    verdict: Verdict
    reason: Line | None = None
    detail: Text | None = None
    started: FiniteFloat
    duration: FiniteFloat
    phases: dict[Literal["setup", "call", "teardown"], FiniteFloat] = {}
    metrics: tuple[MetricRecord, ...] = ()
    attachments: tuple[AttachmentRecord, ...] = ()
    facts: dict[Line, Fact] = {}
    steps: tuple[StepRecord, ...] = ()
    description: Text = ""
    crashed: bool = False


class WorkerCrashed(_Event):
    """A worker process died; `node` is what it was running, if anything."""

    event: Literal["worker_crashed"] = "worker_crashed"
    worker: Line
    node: Line | None
    message: Line


class CellMoved(_Event):
    """A cell goes on `host` because `lost` was; with `again` what it had run until then counts for nothing."""

    event: Literal["cell_moved"] = "cell_moved"
    cell: Line
    lost: Line
    host: Line
    reason: Line
    again: bool


class Noticed(_Event):
    """A line for people while the run goes on, such as who is in the way of a cell."""

    event: Literal["noticed"] = "noticed"
    message: Line


class InternalError(_Event):
    """The harness itself broke; the run is inconclusive at best."""

    event: Literal["internal_error"] = "internal_error"
    message: Text


class ProbeMissing(_Event):
    """An expected probe left no result."""

    event: Literal["probe_missing"] = "probe_missing"
    cell: Line
    probe: Line
    required: bool
    reason: Line


class CellDecided(_Event):
    """The verdict of a cell and why; `counts` by probe verdict and `missing`; `duration` the sum of its probes."""

    event: Literal["cell_decided"] = "cell_decided"
    cell: Line
    verdict: CellVerdict
    reason: Line
    counts: dict[Line, int]
    duration: FiniteFloat


class RunFinished(_Event):
    """The last event of a run that was not killed."""

    event: Literal["run_finished"] = "run_finished"
    exit_code: int
    meaning: Line
    interrupted: bool
    duration: FiniteFloat


Event = Annotated[
    RunStarted
    | HostMeasured
    | CellPlanned
    | ProbesCollected
    | CollectionFailed
    | ProbeStarted
    | ProbeFinished
    | WorkerCrashed
    | CellMoved
    | Noticed
    | InternalError
    | ProbeMissing
    | CellDecided
    | RunFinished,
    Field(discriminator="event"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
KINDS = frozenset(
    {
        "run_started",
        "host_measured",
        "cell_planned",
        "probes_collected",
        "collection_failed",
        "probe_started",
        "probe_finished",
        "worker_crashed",
        "cell_moved",
        "noticed",
        "internal_error",
        "probe_missing",
        "cell_decided",
        "run_finished",
    }
)
