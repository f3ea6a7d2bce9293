"""What people see while a run goes on, in a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from reports.events import Event, Noticed, ProbesCollected, ProbeStarted, WorkerCrashed
from reports.live import Progress
from reports.verdict import Verdict
from tests.unit.reports.test_reconcile import CELL, finished, planned, started

NODES = tuple(f"suites/boot/test_boot.py::test_{name}[{CELL}]" for name in ("one", "two", "three"))
EVENTS: list[Event] = [
    started("boot/one", "boot/two", "boot/three"),
    planned(),
    planned("b+kvm+svm", host=None, reason="no host offers svm"),
    ProbesCollected(at=1, nodes=NODES),
    ProbeStarted(at=1, node=NODES[0], cell=CELL, probe="boot/one"),
    finished("boot/one"),
    ProbeStarted(at=1, node=NODES[1], cell=CELL, probe="boot/two"),
]


def follow(*, terminal: bool, events: list[Event], height: int = 24) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=terminal,
        width=100,
        height=height,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    progress = Progress(console)
    progress.start()
    for event in events:
        progress.follow(event)
    progress.stop()
    progress.stop()
    return file.getvalue()


def test_a_terminal_shows_cells_counts_and_the_current_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = follow(terminal=True, events=EVENTS)
    assert CELL in shown
    assert "1/3" in shown
    assert "boot/two 0 s" in shown
    assert "1 of 3 probes" in shown
    assert "b+kvm+svm" not in shown, "a cell without a host is no work to wait for"


def test_a_terminal_is_told_of_failures_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = follow(terminal=True, events=[*EVENTS, finished("boot/two", Verdict.FAIL, reason="no console")])
    assert "no console" in shown


def test_more_cells_than_lines_are_counted_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    cells: list[Event] = [planned(f"g{number}+qemu-tcg+none") for number in range(100)]
    shown = follow(terminal=True, events=[started("boot/one"), *cells], height=20)
    assert "85 more cells not shown" in shown


def test_a_log_has_a_line_a_probe_and_no_escapes() -> None:
    events = [*EVENTS, finished("boot/two", Verdict.SKIP, reason="no host offers rng"), finished("boot/x", cell=None)]
    shown = follow(terminal=False, events=events).splitlines()
    assert shown[0] == "guestcert r, profile p"
    assert shown[1].startswith(f"[1/3] PASS  {CELL}  boot/one  ")
    assert shown[2].startswith(f"[2/3] SKIP  {CELL}  boot/two  ")
    assert shown[2].endswith("no host offers rng")
    assert "\x1b" not in "".join(shown)


def test_a_crash_is_said() -> None:
    shown = follow(terminal=False, events=[*EVENTS, WorkerCrashed(at=1, worker="gw0", node=NODES[1], message="killed")])
    assert f"worker gw0 crashed in {NODES[1]}" in shown


def test_brackets_from_a_guest_are_not_markup() -> None:
    shown = follow(
        terminal=False, events=[*EVENTS, finished("boot/two", Verdict.FAIL, reason="[bold]x[/bold] [link=y]z[/link]")]
    )
    assert "[bold]x[/bold] [link=y]z[/link]" in shown


def test_a_notice_is_shown_at_once() -> None:
    assert "waiting for host rack" in follow(
        terminal=False, events=[*EVENTS, Noticed(at=2, message="waiting for host rack")]
    )
