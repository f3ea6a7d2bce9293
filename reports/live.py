"""What people see while a run is going on: a live table in a terminal, a line a probe in a log."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fixtures.host_choice import moved
from reports.events import (
    CellMoved,
    CellPlanned,
    CollectionFailed,
    Event,
    InternalError,
    Noticed,
    ProbeFinished,
    ProbesCollected,
    ProbeStarted,
    RunStarted,
    WorkerCrashed,
)
from reports.hostile_text import one_line
from reports.identity import NodeNames
from reports.verdict import Verdict

COLOUR = {"pass": "green", "fail": "red", "error": "magenta", "skip": "yellow", "missing": "magenta"}
MARK = {"pass": "✔", "fail": "✘", "error": "!", "skip": "-", "missing": "?"}

_OUTSIDE = "outside any cell"


@dataclass(slots=True)
class _Row:
    total: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    running: dict[str, float] = field(default_factory=dict)
    began: float | None = None
    ended: float | None = None

    @property
    def done(self) -> int:
        return sum(self.counts.values())


class Progress:
    """Follows the events of a run; `console` is where they show. Start once, stop once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[str, _Row] = {}
        self._total = 0
        self._begun = time.monotonic()
        self._live: Live | None = None

    def start(self) -> None:
        """Take the terminal, if it is one."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                console=self._console,
                get_renderable=self._table,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def stop(self) -> None:
        """Give the terminal back; idempotent."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def follow(self, event: Event) -> None:
        """Show what `event` means to somebody who waits."""
        if isinstance(event, RunStarted):
            self._say(Text(f"guestcert {event.run_id}, profile {event.profile.id}"))
        elif isinstance(event, CellPlanned):
            if event.host is not None:
                self._rows[event.cell] = _Row()
        elif isinstance(event, ProbesCollected):
            self._count(event)
        elif isinstance(event, ProbeStarted):
            started = self._rows.setdefault(event.cell or _OUTSIDE, _Row())
            started.running[_label(event)] = time.monotonic()
            started.began = started.began or time.monotonic()
        elif isinstance(event, ProbeFinished):
            self._finished(event)
        elif isinstance(event, WorkerCrashed):
            self._say(Text(f"worker {event.worker} crashed{f' in {event.node}' if event.node else ''}", "magenta"))
        elif isinstance(event, CellMoved):
            self._moved(event)
        elif isinstance(event, Noticed):
            self._say(Text(event.message, "yellow"))
        elif isinstance(event, CollectionFailed):
            self._say(Text(f"cannot read {event.node}:\n{event.message}", "red"))
        elif isinstance(event, InternalError):
            self._say(Text(event.message, "red"))

    def _count(self, event: ProbesCollected) -> None:
        names = NodeNames(self._rows)
        self._total = len(event.nodes)
        for row in self._rows.values():
            row.total = 0
        for node in event.nodes:
            cell = names.key(node).cell
            if cell is not None:
                self._rows[cell].total += 1

    def _moved(self, event: CellMoved) -> None:
        row = self._rows.get(event.cell)
        if event.again and row is not None:
            row.counts.clear()
            row.ended = None
        self._say(Text(moved(event.cell, event.lost, event.host, event.reason), "yellow"))

    def _finished(self, event: ProbeFinished) -> None:
        row = self._rows.setdefault(event.cell or _OUTSIDE, _Row())
        row.running.pop(_label(event), None)
        row.counts[event.verdict.value] += 1
        if row.done >= row.total:
            row.ended = time.monotonic()
        if self._live is None or event.verdict in {Verdict.FAIL, Verdict.ERROR}:
            self._say(self._line(event))

    def _line(self, event: ProbeFinished) -> Text:
        done = sum(row.done for row in self._rows.values())
        width = len(str(self._total))
        word = event.verdict.value
        line = Text(f"[{done:>{width}}/{self._total}] ")
        line.append(f"{word.upper():<5}", COLOUR[word])
        line.append(f" {event.cell or '-'}  {_label(event)}  {event.duration:.1f} s")
        if event.verdict is not Verdict.PASS and event.reason:
            line.append(f"  {one_line(event.reason, 200)}", "dim")
        return line

    def _say(self, text: Text) -> None:
        # soft_wrap: a log is searched by line, so a line stays a line
        self._console.print(text, soft_wrap=True, highlight=False)

    def _table(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("cell", "probes", "result", "time", "now"):
            table.add_column(
                heading, no_wrap=True, overflow="ellipsis", justify="right" if heading in {"probes", "time"} else "left"
            )
        now = time.monotonic()
        # Running cells first, then finished ones, then those that wait; as many as the terminal is high.
        order = sorted(self._rows.items(), key=lambda each: (not each[1].running, each[1].began is None))
        room = max(3, self._console.height - 5)
        for cell, row in order[:room]:
            elapsed = "" if row.began is None else f"{(row.ended or now) - row.began:.0f} s"
            current = ", ".join(f"{probe} {now - since:.0f} s" for probe, since in row.running.items())
            table.add_row(
                Text(cell), f"{row.done}/{row.total}", counts_text(row.counts), elapsed, Text(current, "cyan")
            )
        hidden = len(order) - room
        done = sum(row.done for row in self._rows.values())
        doing = f"{done} of {self._total} probes" if self._total else "starting workers"
        footer = Text(f"{doing}, {now - self._begun:.0f} s", "dim")
        if hidden > 0:
            footer.append(f", {hidden} more cells not shown")
        return Group(table, footer)


def counts_text(counts: Counter[str] | dict[str, int]) -> Text:
    """`✔ 12  ✘ 1`, in colour."""
    text = Text()
    for word, mark in MARK.items():
        if counts.get(word):
            text.append(f"{mark} {counts[word]}  ", COLOUR[word])
    text.rstrip()
    return text


def _label(event: ProbeStarted | ProbeFinished) -> str:
    return f"{event.probe} ({event.variant})" if event.variant else event.probe
