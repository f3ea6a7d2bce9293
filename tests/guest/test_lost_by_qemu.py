"""A guest that QEMU loses is told apart from one that fails, and is started anew."""

from __future__ import annotations

import pytest

from fixtures.deadline import Deadline
from fixtures.faults import EmulatorFault
from fixtures.guest import Guest, State
from fixtures.instance import Instance
from tests.guest.conftest import MakeGuest

BOOT = 240.0


def test_a_guest_lost_in_its_boot_is_started_anew(make_guest: MakeGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = Instance.lives
    lost: list[Instance] = []

    def loses_the_first(self: Instance) -> bool:
        if not lost and "kernel" in self.console.milestones:
            lost.append(self)
            raise EmulatorFault("QEMU lost the end of interrupt 236")
        return lives(self)

    monkeypatch.setattr(Instance, "lives", loses_the_first)
    guest: Guest = make_guest(reuse=False)
    guest.to(State.READY, Deadline.after(BOOT))
    assert lost
    assert guest.check(["uname"]).strip() == "Linux"
    assert "started anew: QEMU lost the end of interrupt 236" in str(guest.facts()["notes"])
    assert guest.boot_timeline.ready_s is not None


def test_one_that_qemu_loses_time_and_again_is_given_up(make_guest: MakeGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    def loses(_self: Instance) -> bool:
        raise EmulatorFault("QEMU lost the end of interrupt 236")

    monkeypatch.setattr(Instance, "lives", loses)
    guest: Guest = make_guest(reuse=False)
    with pytest.raises(EmulatorFault):
        guest.to(State.READY, Deadline.after(BOOT))
    assert guest.state is State.BROKEN
