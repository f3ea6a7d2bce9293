"""In the controller (or the only process): the one writer of events, and what happens at the end of a run."""

from __future__ import annotations

import mimetypes
import re
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from fixtures import host_choice
from fixtures.interruption import interrupted_later
from fixtures.notice import Notice
from matrix.plan import Plan
from reports.event_log import EventWriter
from reports.events import (
    AttachmentRecord,
    CellDecided,
    CellMoved,
    CellPlanned,
    CollectionFailed,
    Event,
    HostMeasured,
    InternalError,
    KnownIssue,
    Named,
    Noticed,
    ProbeFinished,
    ProbeMissing,
    ProbesCollected,
    ProbeStarted,
    ProfileRecord,
    RunFinished,
    RunStarted,
    WorkerCrashed,
)
from reports.hostile_text import one_line, without_secrets
from reports.identity import NodeNames
from reports.live import Progress
from reports.observed import Observed
from reports.provenance import plan_digest, versions
from reports.reconcile import RunOutcome, reconcile
from reports.verdict import Verdict, worst

_MOST_EVIDENCE_FILES = 50
_UNSAFE_IN_FILE_NAME = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(slots=True)
class _Running:
    started: float
    worker: str = "none"
    phases: dict[Literal["setup", "call", "teardown"], float] = field(default_factory=dict)
    seen: list[Observed] = field(default_factory=list)


class Journal:
    """Turns the controller's pytest hooks into events; keeps them for the verdicts at the end."""

    def __init__(self, plan: Plan, progress: Progress, command: tuple[str, ...]) -> None:
        """Raises FileExistsError if the run folder holds a run already."""
        self._plan = plan
        self._progress = progress
        self._names = NodeNames(binding.cell.id for binding in plan.bindings)
        self._writer = EventWriter(plan.out)
        self._events: list[Event] = []
        self._running: dict[str, _Running] = {}
        self._down: dict[str, str] = {}
        self._moved: dict[str, str] = {}
        self._collected = False
        self._begin(command)

    def _begin(self, command: tuple[str, ...]) -> None:
        plan, now = self._plan, time.time()
        profile = ProfileRecord(id=plan.profile.id, required=plan.profile.required, optional=plan.profile.optional)
        self.write(
            RunStarted(
                at=now,
                run_id=plan.run_id,
                versions=versions(),
                command=without_secrets(command),
                profile=profile,
                plan_digest=plan_digest(plan),
                checkpoint_reuse=plan.checkpoint_reuse,
            )
        )
        for host in plan.hosts:
            uri = without_secrets([host.uri])[0]
            self.write(HostMeasured(at=now, host=host.id, uri=uri, capabilities=dict(host.capabilities)))
        for binding in plan.bindings:
            cell = binding.cell
            issues = tuple(
                KnownIssue(rule=issue.rule, reason=issue.reason, link=issue.link, probes=issue.probes)
                for issue in cell.known_issues
            )
            self.write(
                CellPlanned(
                    at=now,
                    cell=cell.id,
                    guest=Named(id=cell.guest.id, name=cell.guest.name),
                    hypervisor=Named(id=cell.hypervisor.id, name=cell.hypervisor.name),
                    extension=Named(id=cell.extension.id, name=cell.extension.name),
                    host=binding.host_id,
                    reason=None if binding.host_id else binding.reason or cell.excluded or "no host",
                    known_issues=issues,
                )
            )

    def write(self, event: Event) -> None:
        """Record an event and show it."""
        self._record((event,))
        self._progress.follow(event)

    def _record(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Ctrl-C waits until they are in the log: what a guest has earned is not thrown away half-way.

        It does not wait while they are shown, which may take for ever where nobody reads.
        """
        with interrupted_later():
            recorded = []
            for event in events:
                self._writer.write(event)
                self._events.append(event)
                recorded.append(event)
        return tuple(recorded)

    # --- pytest's hooks

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:  # empty in the controller of xdist, which collects in its workers
            self._collect(tuple(item.nodeid for item in session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._collect(tuple(ids))

    def _collect(self, nodes: tuple[str, ...]) -> None:
        if not self._collected:  # every worker collects the same
            self._collected = True
            self.write(ProbesCollected(at=time.time(), nodes=nodes))

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.write(
                CollectionFailed(at=time.time(), node=report.nodeid or "collection", message=report.longreprtext)
            )

    @pytest.hookimpl
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        news = warning_message.message
        if isinstance(news, Notice):
            self.write(Noticed(at=time.time(), message=str(news)))
        elif isinstance(news, host_choice.CellMoved) and self._moved.get(news.cell) != news.host:
            self._moved[news.cell] = news.host  # every worker that takes the cell over says so
            moved = CellMoved(
                at=time.time(), cell=news.cell, lost=news.lost, host=news.host, reason=news.reason, again=news.again
            )
            self.write(moved)

    @pytest.hookimpl
    def pytest_internalerror(self, excrepr: object) -> None:
        self.write(InternalError(at=time.time(), message=str(excrepr)[-15_000:]))

    @pytest.hookimpl
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        now = time.time()
        key = self._names.key(nodeid)
        self._running[nodeid] = _Running(started=now)
        self.write(ProbeStarted(at=now, node=nodeid, cell=key.cell, probe=key.probe, variant=key.variant))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for event in self._record(self._told_by(report)):
            self._progress.follow(event)

    def _told_by(self, report: pytest.TestReport) -> Iterator[Event]:
        running = self._running.setdefault(report.nodeid, _Running(started=report.start or time.time()))
        node = getattr(report, "node", None)
        running.worker = str(node.gateway.id) if node is not None else "controller"
        observed = Observed.of(report)
        if observed is None:
            yield from self._crashed(report, running)
            return
        running.seen.append(observed)
        running.phases[report.when] = report.duration
        if report.when == "teardown":
            yield self._finished(report.nodeid, running, ())

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object | None) -> None:
        if error:
            self._flush_crashes()
            name = str(getattr(getattr(node, "gateway", None), "id", "unknown"))
            self._down[name] = one_line(
                str(error).strip().splitlines()[-1] if str(error).strip() else "no reason known"
            )

    # --- the ends of a probe

    def _crashed(self, report: pytest.TestReport, running: _Running) -> Iterator[Event]:
        """A report that no recorder made: xdist made it up because the worker died (when is "???")."""
        message = self._down.pop(running.worker, "no reason known")
        yield WorkerCrashed(at=time.time(), worker=running.worker, node=report.nodeid, message=message)
        phase = ("setup", "call", "teardown")[min(len(running.phases), 2)]
        reason = f"worker {running.worker} crashed in {phase}: {message}"
        running.seen.append(Observed(verdict=Verdict.ERROR, reason=reason, detail=report.longreprtext))
        yield self._finished(report.nodeid, running, tuple(self._left_behind(report.nodeid)), crashed=True)

    def _finished(
        self, nodeid: str, running: _Running, extra: tuple[AttachmentRecord, ...], *, crashed: bool = False
    ) -> ProbeFinished:
        self._running.pop(nodeid, None)
        key = self._names.key(nodeid)
        verdict = worst(observed.verdict for observed in running.seen)
        decisive = [observed for observed in running.seen if observed.verdict is verdict]
        known = {attachment.path for observed in running.seen for attachment in observed.attachments}
        now = time.time()
        return ProbeFinished(
            at=now,
            node=nodeid,
            cell=key.cell,
            probe=key.probe,
            variant=key.variant,
            worker=running.worker,
            verdict=verdict,
            reason="; ".join(observed.reason for observed in decisive if observed.reason) or None,
            detail="\n\n".join(observed.detail for observed in decisive if observed.detail) or None,
            started=running.started,
            duration=sum(running.phases.values()) if not crashed else now - running.started,
            phases=running.phases,
            metrics=tuple(metric for observed in running.seen for metric in observed.metrics),
            attachments=(
                *(attachment for observed in running.seen for attachment in observed.attachments),
                *(attachment for attachment in extra if attachment.path not in known),
            ),
            facts={name: value for observed in running.seen for name, value in observed.facts.items()},
            steps=tuple(step for observed in running.seen for step in observed.steps),
            description="".join(observed.description for observed in running.seen),
            crashed=crashed,
        )

    def _left_behind(self, nodeid: str) -> Iterator[AttachmentRecord]:
        """Evidence that a dead worker had written for the probe."""
        key = self._names.key(nodeid)
        if key.cell is None:
            return
        # The folder is called as fixtures/recording.py calls it.
        name = ".".join(filter(None, (key.probe.replace("/", "."), key.variant)))
        folder = self._plan.out / "evidence" / key.cell / _UNSAFE_IN_FILE_NAME.sub("_", name)
        # A link could lead out of the run folder; evidence is files.
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        for path in files[:_MOST_EVIDENCE_FILES]:
            mime = mimetypes.guess_type(path.name)[0] or "text/plain"
            relative = path.relative_to(self._plan.out).as_posix()
            yield AttachmentRecord(
                name=path.relative_to(folder).as_posix(), path=relative, mime=mime, size=path.stat().st_size
            )

    def _flush_crashes(self) -> None:
        for worker, message in self._down.items():
            self.write(WorkerCrashed(at=time.time(), worker=worker, node=None, message=message))
        self._down.clear()

    # --- the end of the run

    def conclude(self, *, interrupted: bool) -> RunOutcome:
        """Write the verdicts and close the log."""
        self._flush_crashes()
        outcome = reconcile(self._events, interrupted=interrupted)
        now = time.time()
        for cell in outcome.cells:
            for probe in cell.probes:
                if probe.verdict is None:
                    reason = probe.reason or "no reason known"
                    self.write(
                        ProbeMissing(at=now, cell=cell.id, probe=probe.probe, required=probe.required, reason=reason)
                    )
            counts = {str(word): count for word, count in cell.counts.items()}
            self.write(
                CellDecided(
                    at=now,
                    cell=cell.id,
                    verdict=cell.verdict,
                    reason=cell.reason,
                    counts=counts,
                    duration=cell.duration,
                )
            )
        code = outcome.exit
        self.write(
            RunFinished(
                at=now,
                exit_code=code.code,
                meaning=code.value,
                interrupted=interrupted,
                duration=max(0.0, now - outcome.run.at),
            )
        )
        self._writer.close()
        return reconcile(self._events, interrupted=interrupted)

    @property
    def out(self) -> Path:
        return self._plan.out
