"""The workload by which a stop or a harm is seen, in a real shell, and the clock."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from fixtures.deadline import Deadline
from fixtures.faults import CommandFailed
from suites.lifecycle.workload import (
    Progress,
    clock_offset,
    clock_offset_now,
    judge_workload,
    parse_progress,
    parse_stamps,
    start_workload,
)
from suites.waiting import wait_until
from tests.unit.suites.local_shell import LocalShell

BEFORE = Progress(rounds=3, wrong=0, alive=True)


def test_a_workload_goes_on_until_its_memory_changes() -> None:
    workload = start_workload(LocalShell())
    block = Path(workload.folder, "block")
    try:
        before = workload.goes_on(0, Deadline.after(20))
        assert judge_workload(Progress(0, 0, alive=True), before) is None
        block.write_bytes(b"harmed")
        after = workload.goes_on(before.rounds + 1, Deadline.after(20))
        assert "were wrong" in (judge_workload(before, after) or "")
    finally:
        block.unlink()
    gone = workload.goes_on(1 << 62, Deadline.after(20))
    assert "process is gone" in (judge_workload(before, gone) or "")


def test_a_workload_that_stands_still() -> None:
    assert "stands at 3 rounds" in (judge_workload(BEFORE, BEFORE) or "")
    assert judge_workload(BEFORE, Progress(4, 0, alive=True)) is None


def test_a_workload_notes_the_time_whatever_it_is_at() -> None:
    workload = start_workload(LocalShell(), kib=64, on_console=False)
    try:
        assert wait_until(lambda: len(workload.stamps()) > 3, Deadline.after(20))
        os.kill(workload.pid, signal.SIGSTOP)
        stamps = workload.stamps()
        assert wait_until(lambda: len(workload.stamps()) > len(stamps) + 1, Deadline.after(20))
        os.kill(workload.pid, signal.SIGCONT)
    finally:
        Path(workload.folder, "block").unlink()
    assert all(one < two for one, two in pairwise(stamps))


def test_stamps_but_for_one_that_is_being_written() -> None:
    assert parse_stamps("12.50\n12.61\n12.") == (12.50, 12.61)
    with pytest.raises(CommandFailed, match="expected seconds"):
        parse_stamps("12.50\nBus error\n")


def test_the_clock_of_this_machine_is_right() -> None:
    assert clock_offset_now(LocalShell(), time.time) == 0.0


@pytest.mark.parametrize("slow", [-35.0, 35.0])
def test_a_clock_is_judged_by_its_hosts(slow: float) -> None:
    assert clock_offset_now(LocalShell(), lambda: time.time() + slow) == pytest.approx(-slow, abs=1.5)


def test_no_progress_to_read() -> None:
    with pytest.raises(CommandFailed):
        parse_progress("12\n")


@pytest.mark.parametrize(
    ("guest_s", "asked_at", "answered_at", "offset"),
    [
        (100, 100.2, 100.9, 0.0),
        (100, 99.0, 105.0, 0.0),
        (110, 100.0, 101.0, 9.0),
        (90, 100.0, 101.0, -9.0),
    ],
)
def test_clock_offset(guest_s: int, asked_at: float, answered_at: float, offset: float) -> None:
    assert clock_offset(guest_s, asked_at, answered_at) == pytest.approx(offset)
