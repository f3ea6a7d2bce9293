"""Evidence of a real guest, alive and dead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from fixtures.deadline import Deadline
from fixtures.evidence import collect
from fixtures.faults import GuestPanicked
from fixtures.guest import Guest, State

MakeGuest = Callable[..., Guest]

SLOW = 900
"""Seconds for anything that boots: the machine may be busy with other guests."""


def test_evidence_of_a_guest_that_lives_and_of_one_that_panicked(
    make_guest: MakeGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.evidence.STEP_SECONDS", SLOW)
    guest = make_guest()
    guest.to(State.READY, Deadline.after(SLOW))
    log = guest.hypervisor_log
    assert log is not None
    kept = {
        one.name: one.path for one in collect(guest, tmp_path / "alive", Deadline.after(SLOW), logs={"QEMU log": log})
    }
    assert {"console log", "QEMU log", "domain XML", "guest kernel log", "guest journal"} <= set(kept)
    assert "Linux version" in kept["guest kernel log"].read_text()
    assert etree.parse(kept["domain XML"]).getroot().tag == "domain"

    with pytest.raises(GuestPanicked):
        guest.run(["sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 1000"], timeout=SLOW)
    kept = {one.name: one.path for one in collect(guest, tmp_path / "dead", Deadline.after(SLOW))}
    assert "sysrq triggered crash" in kept["console log"].read_text()
    assert "guest kernel log" not in kept
    assert "Kernel panic" in kept["evidence not collected"].read_text()
