"""A guest's life: states, verbs, and what a dead hypervisor or a hopeless deadline makes of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import psutil
import pytest

from fixtures.deadline import Deadline
from fixtures.faults import GuestFault, HostFault, NotReady
from fixtures.guest import Guest, State
from tests.emulator_processes import emulators

MakeGuest = Callable[..., Guest]

SLOW = 900
"""Seconds for anything that boots: the machine may be busy with other guests."""


def emulator(guest: Guest) -> psutil.Process:
    (found,) = emulators(f"guest={guest.plumbing.name},")
    return found


def booting(guest: Guest) -> str:
    """What systemd and udev still have to do of the guest's boot; nothing, once it is ready."""
    return guest.run(["sh", "-c", "systemctl list-jobs --no-legend; udevadm settle --timeout=0 || echo udev"]).text


def test_states_are_idempotent_and_reach_back(make_guest: MakeGuest) -> None:
    guest = make_guest(reuse=False)
    assert guest.state == "absent"
    guest.to(State.DEFINED)
    guest.to(State.DEFINED)
    assert guest.state == "defined"
    guest.to(State.RUNNING)
    process = emulator(guest)
    assert process.ppid() == os.getpid(), "libvirt waits for its parent when it ends"
    guest.to(State.RUNNING)
    assert emulator(guest) == process
    guest.to(State.DEFINED)
    assert not process.is_running()
    guest.to(State.ABSENT)
    assert guest.state == "absent"
    assert not guest.plumbing.folder.exists()


def test_a_hopeless_deadline_breaks_the_guest_and_is_remembered(make_guest: MakeGuest) -> None:
    guest = make_guest(reuse=False)
    with pytest.raises(NotReady) as first:
        guest.to(State.READY, Deadline.after(0.5))
    assert guest.state is State.BROKEN
    assert guest.fault is first.value
    begun = time.monotonic()
    with pytest.raises(NotReady) as second:
        guest.to(State.READY, Deadline.after(SLOW))
    assert second.value is first.value
    assert time.monotonic() - begun < SLOW
    with pytest.raises(NotReady):
        guest.run(["true"])


def test_hot_verbs(make_guest: MakeGuest) -> None:
    guest = make_guest()
    guest.to(State.READY, Deadline.after(SLOW))
    boot_id = guest.boot_id()

    guest.pause()
    assert guest.domain.state() == "paused"
    guest.resume()
    assert guest.boot_id() == boot_id

    saving, restoring = guest.save_restore(Deadline.after(SLOW))
    assert saving > 0
    assert restoring > 0
    assert guest.boot_id() == boot_id
    assert abs(int(guest.check(["date", "+%s"])) - time.time()) < 30

    guest.reset()
    guest.reconnect(Deadline.after(SLOW))
    after_reset = guest.boot_id()
    assert after_reset != boot_id
    assert booting(guest) == ""

    guest.run(["systemctl", "reboot"])
    guest.wait_for_reboot(after_reset, Deadline.after(SLOW))
    assert guest.boot_id() not in {boot_id, after_reset}
    assert booting(guest) == ""

    guest.check(["sh", "-c", "echo kept >/root/kept; sync"])
    guest.request_shutdown()
    guest.wait_for_shutdown(Deadline.after(SLOW))
    assert guest.state is State.DEFINED
    guest.start(Deadline.after(SLOW))
    assert booting(guest) == ""
    assert guest.check(["cat", "/root/kept"]) == "kept\n"


def test_a_killed_hypervisor_is_the_hosts_fault_and_seen_at_once(make_guest: MakeGuest) -> None:
    guest = make_guest()
    guest.to(State.READY, Deadline.after(SLOW))
    process = emulator(guest)
    process.kill()
    with pytest.raises(HostFault):
        guest.run(["sleep", "600"], timeout=SLOW)
    assert guest.state is not State.READY
    guest.close()
    assert not process.is_running()


def test_a_guest_that_is_not_ready_says_so(make_guest: MakeGuest) -> None:
    guest = make_guest()
    with pytest.raises(GuestFault, match="absent"):
        guest.run(["true"])
