"""From events to outcomes: what was expected against what was seen. A crash, a loss and a silence are seen here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reports.events import (
    CellMoved,
    CellPlanned,
    CollectionFailed,
    Event,
    HostMeasured,
    InternalError,
    MetricRecord,
    ProbeFinished,
    ProbesCollected,
    ProbeStarted,
    RunFinished,
    RunStarted,
    WorkerCrashed,
)
from reports.identity import NodeNames, ProbeKey
from reports.verdict import CellVerdict, ExitCode, Verdict, worst

_NAMED_IN_A_REASON = 3
_Results = dict[str, dict[str, list[ProbeFinished]]]


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """A probe of a cell; `verdict` is None when no result came (missing). `results`: one for each variant seen."""

    probe: str
    required: bool
    verdict: Verdict | None
    reason: str | None
    results: tuple[ProbeFinished, ...] = ()

    @property
    def word(self) -> str:
        """The verdict, or `missing`."""
        return "missing" if self.verdict is None else self.verdict.value

    @property
    def duration(self) -> float:
        """Seconds, all variants together."""
        return sum(result.duration for result in self.results)


@dataclass(frozen=True, slots=True)
class CellOutcome:
    """A cell with its verdict, why, and all its probes (required first, in the profile's order, then others)."""

    plan: CellPlanned
    verdict: CellVerdict
    reason: str
    probes: tuple[ProbeOutcome, ...] = ()

    @property
    def id(self) -> str:
        return self.plan.cell

    @property
    def counts(self) -> dict[str, int]:
        """Number of probes by verdict word, only those that occur."""
        return dict(Counter(probe.word for probe in self.probes))

    @property
    def duration(self) -> float:
        """Seconds spent in probes."""
        return sum(probe.duration for probe in self.probes)

    @property
    def metrics(self) -> tuple[MetricRecord, ...]:
        return tuple(metric for probe in self.probes for result in probe.results for metric in result.metrics)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Everything the derived files are made from."""

    run: RunStarted
    hosts: tuple[HostMeasured, ...]
    cells: tuple[CellOutcome, ...]
    outside: tuple[ProbeFinished, ...]
    """Tests without a planned cell; they decide nothing."""
    crashes: tuple[WorkerCrashed, ...]
    collection_failures: tuple[CollectionFailed, ...]
    internal_errors: tuple[InternalError, ...]
    moves: tuple[CellMoved, ...]
    """Cells that lost their host and went on another."""
    finished: RunFinished | None
    interrupted: bool
    last_at: float = field(default=0.0)

    @property
    def duration(self) -> float:
        """Seconds from the first to the last event."""
        return max(0.0, self.last_at - self.run.at)

    @property
    def exit(self) -> ExitCode:
        """What the run means as a whole."""
        verdicts = {cell.verdict for cell in self.cells}
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if self.collection_failures:
            return ExitCode.BAD_INPUT
        if CellVerdict.FAILED in verdicts:
            return ExitCode.FAILED
        if CellVerdict.INCONCLUSIVE in verdicts or self.internal_errors:
            return ExitCode.INCONCLUSIVE
        return ExitCode.CERTIFIED if CellVerdict.CERTIFIED in verdicts else ExitCode.UNTESTED


def reconcile(events: Sequence[Event], *, interrupted: bool | None = None) -> RunOutcome:
    """The outcome of a run from its events, whether it ended properly, was interrupted or was killed.

    `interrupted` overrides what the log says (the controller knows before run_finished is written).
    The first event must be RunStarted, as `read_events` makes sure.
    """
    run = events[0]
    if not isinstance(run, RunStarted):
        raise TypeError("the first event must be run_started")
    planned = {event.cell: event for event in events if isinstance(event, CellPlanned)}
    results: _Results = {cell: {} for cell in planned}
    outside: list[ProbeFinished] = []
    for event in events:
        if isinstance(event, ProbeFinished):
            if event.cell in results:
                results[event.cell].setdefault(event.probe, []).append(event)
            else:
                outside.append(event)
        elif isinstance(event, CellMoved) and event.cell in planned:
            planned[event.cell] = planned[event.cell].model_copy(update={"host": event.host})
            if event.again:
                results[event.cell].clear()  # a cell's evidence is from one host
    silence = _Silence(events, planned)
    finished = next((event for event in reversed(events) if isinstance(event, RunFinished)), None)
    return RunOutcome(
        run=run,
        hosts=tuple(event for event in events if isinstance(event, HostMeasured)),
        cells=tuple(_cell(run, plan, results[plan.cell], silence) for plan in planned.values()),
        outside=tuple(outside),
        crashes=tuple(event for event in events if isinstance(event, WorkerCrashed)),
        collection_failures=tuple(event for event in events if isinstance(event, CollectionFailed)),
        internal_errors=tuple(event for event in events if isinstance(event, InternalError)),
        moves=tuple(event for event in events if isinstance(event, CellMoved)),
        finished=finished,
        interrupted=interrupted if interrupted is not None else bool(finished and finished.interrupted),
        last_at=max(event.at for event in events),
    )


class _Silence:
    """What was collected and started, and so why something has no result."""

    def __init__(self, events: Iterable[Event], planned: Iterable[str]) -> None:
        names = NodeNames(planned)
        self._heard_of_collection = False
        self._variants: dict[tuple[str | None, str], set[str | None]] = {}
        self._started: set[ProbeKey] = set()
        for event in events:
            if isinstance(event, ProbesCollected):
                self._heard_of_collection = True
                for node in event.nodes:
                    key = names.key(node)
                    self._variants.setdefault((key.cell, key.probe), set()).add(key.variant)
            elif isinstance(event, ProbeStarted):
                key = ProbeKey(event.cell, event.probe, event.variant)
                self._started.add(key)
                self._variants.setdefault((key.cell, key.probe), set()).add(key.variant)

    def of(self, cell: str, probe: str, results: Sequence[ProbeFinished]) -> str | None:
        """Why a result of the probe, or of a variant of it, is missing; None if none is."""
        expected = self._variants.get((cell, probe), set())
        if not expected and not results:
            return "not selected, or no suite has it" if self._heard_of_collection else "never started"
        silent = expected - {result.variant for result in results}
        if not silent:
            return None
        started = any(ProbeKey(cell, probe, variant) in self._started for variant in silent)
        word = "started but never ended" if started else "never started"
        named = ", ".join(sorted(filter(None, silent)))
        return f"{named}: {word}" if named else word


def _cell(
    run: RunStarted, plan: CellPlanned, results: dict[str, list[ProbeFinished]], silence: _Silence
) -> CellOutcome:
    if plan.host is None and not results:
        return CellOutcome(plan, CellVerdict.UNTESTED, plan.reason or "no host")
    required = dict.fromkeys(run.profile.required)
    # An optional probe that was not selected is no loss worth a line; a required one is.
    others = [
        probe
        for probe in dict.fromkeys([*run.profile.optional, *results])
        if probe in results and probe not in required
    ]
    probes = tuple(
        _probe(plan.cell, probe, results.get(probe, []), silence, required=probe in required)
        for probe in [*required, *others]
    )
    verdict, reason = decide(probes)
    return CellOutcome(plan, verdict, reason, probes)


def _probe(
    cell: str, probe: str, results: Sequence[ProbeFinished], silence: _Silence, *, required: bool
) -> ProbeOutcome:
    missing = silence.of(cell, probe, results)
    verdict = worst(result.verdict for result in results) if results else None
    if missing and verdict not in {Verdict.FAIL, Verdict.ERROR}:
        return ProbeOutcome(probe, required, None, missing, tuple(results))
    reasons = [
        f"{result.variant}: {result.reason}" if result.variant else result.reason
        for result in results
        if result.verdict is verdict and result.reason
    ]
    return ProbeOutcome(probe, required, verdict, "; ".join(reasons) or None, tuple(results))


def decide(probes: Sequence[ProbeOutcome]) -> tuple[CellVerdict, str]:
    """The verdict of a cell with a host, and its one-line reason. No required probe, no certificate."""
    required = [probe for probe in probes if probe.required]
    if not required:
        return CellVerdict.INCONCLUSIVE, "the profile requires no probe, so nothing can be certified"
    failed = [probe for probe in required if probe.verdict is Verdict.FAIL]
    if failed:
        return CellVerdict.FAILED, _reason("failed", failed, len(required))
    for word in ("error", "missing", "skip"):
        found = [probe for probe in required if probe.word == word]
        if found:
            description = {"error": "in error", "missing": "missing", "skip": "skipped"}[word]
            return CellVerdict.INCONCLUSIVE, _reason(description, found, len(required))
    return CellVerdict.CERTIFIED, f"all {len(required)} required probes passed"


def _reason(description: str, probes: Sequence[ProbeOutcome], required: int) -> str:
    groups: dict[str, list[str]] = {}
    for probe in probes:
        groups.setdefault(probe.reason or "no reason given", []).append(probe.probe)
    named = []
    for reason, names in list(groups.items())[:_NAMED_IN_A_REASON]:
        shown = ", ".join(names[:_NAMED_IN_A_REASON])
        more = f" and {len(names) - _NAMED_IN_A_REASON} more" if len(names) > _NAMED_IN_A_REASON else ""
        named.append(f"{shown}{more} ({reason})")
    rest = "" if len(groups) <= _NAMED_IN_A_REASON else f"; {len(groups) - _NAMED_IN_A_REASON} more reasons"
    return f"{len(probes)} of {required} required probes {description}: {'; '.join(named)}{rest}"
