"""Does the guest survive that its hypervisor stops it for a while?"""

from __future__ import annotations

import pytest

from fixtures.deadline import Deadline
from fixtures.guest import Guest
from suites.fixture_types import OpenStep
from suites.lifecycle.workload import TICK, clock_offset_now, judge_workload, lifecycle_bounds, start_workload
from suites.waiting import hold, wait_until


def _ticks(guest: Guest) -> int:
    return guest.console_text().count(TICK)


@pytest.mark.requires("linux")
def test_pause_resume(fresh_guest: Guest, step: OpenStep) -> None:
    """A paused guest stands still; resumed, its processes continue and its clock is right.

    Preconditions: none.
    Steps: start a checksum workload that ticks on the console; pause; hold; resume.
    Expected: no tick while paused; the same process goes on without a wrong checksum; the same boot; the wall clock, which is
    set from the host's when it is resumed, agrees with the host's. That one is not judged: it may itself be wrong or slow.
    """
    bounds = lifecycle_bounds()
    boot_id = fresh_guest.boot_id()
    with step("start the workload"):
        workload = start_workload(fresh_guest)
        ticking = wait_until(lambda: _ticks(fresh_guest) > 0, Deadline.after(bounds.progress_s))
        assert ticking, (
            f"expected the workload to tick on the console within {bounds.progress_s:g} s; see the console log"
        )
        before = workload.progress()
    with step("pause"):
        fresh_guest.pause()
        # What the guest wrote before may still be on its way into the log.
        hold(Deadline.after(bounds.pause_s / 4))
        ticks = _ticks(fresh_guest)
        hold(Deadline.after(bounds.pause_s))
        ticks_while_paused = _ticks(fresh_guest) - ticks
    with step("resume"):
        fresh_guest.resume()
        after = workload.goes_on(before.rounds, Deadline.after(bounds.progress_s))
    assert ticks_while_paused == 0, (
        f"expected a paused guest to stand still, it ticked {ticks_while_paused} times on the console in {bounds.pause_s:g} s"
    )
    problem = judge_workload(before, after)
    assert problem is None, f"{problem}, after a pause of {bounds.pause_s:g} s; see the console log"
    assert fresh_guest.boot_id() == boot_id, "expected the same boot after pause and resume, the guest has rebooted"
    offset = clock_offset_now(fresh_guest, fresh_guest.host_clock)
    assert abs(offset) <= bounds.clock_s, (
        f"expected the guest's wall clock within {bounds.clock_s:g} s of the host's after resume, it is off by {offset:+.1f} s"
    )


@pytest.mark.requires("save", "linux")
def test_save_restore(fresh_guest: Guest, step: OpenStep) -> None:
    """A guest saved to a file and restored from it goes on as if nothing had happened.

    Preconditions: the hypervisor can save and restore.
    Steps: start a checksum workload; save to a file, which ends the domain; restore.
    Expected: the same process goes on without a wrong checksum; the same boot; the wall clock agrees with that of the guest's
    host, as in pause_resume.
    """
    bounds = lifecycle_bounds()
    boot_id = fresh_guest.boot_id()
    with step("start the workload"):
        workload = start_workload(fresh_guest)
        before = workload.goes_on(0, Deadline.after(bounds.progress_s))
    with step("save and restore"):
        fresh_guest.save_restore()
        after = workload.goes_on(before.rounds, Deadline.after(bounds.progress_s))
    problem = judge_workload(before, after)
    assert problem is None, f"{problem}, after save and restore; see the console log"
    assert fresh_guest.boot_id() == boot_id, "expected the same boot after save and restore, the guest has rebooted"
    offset = clock_offset_now(fresh_guest, fresh_guest.host_clock)
    assert abs(offset) <= bounds.clock_s, (
        f"expected the guest's wall clock within {bounds.clock_s:g} s of the host's after restore, it is off by {offset:+.1f} s"
    )
