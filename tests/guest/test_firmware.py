"""UEFI with and without Secure Boot, for real: the probes hold, and they do not where Secure Boot is off."""

from __future__ import annotations

import datetime as dt
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from fixtures.checkpoint import CheckpointStore
from fixtures.deadline import Deadline
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Image
from matrix.expand import expand
from matrix.load import load
from matrix.model import Selection
from suites.boot.test_firmware import test_firmware_matches as probe_firmware_matches
from suites.boot.test_firmware import test_unsigned_loader_refused as probe_unsigned_loader_refused

pytestmark = pytest.mark.slow  # four boots through firmware

PATIENT = 400.0


def attach(name: str, data: str | bytes | Path, mime: str = "text/plain") -> None:
    """Evidence is not the subject here."""


def step(title: str) -> AbstractContextManager[None]:
    """Nor are steps."""
    return nullcontext()


@pytest.mark.parametrize("name", ["debian-12-uefi", "debian-12-secure-boot"])
def test_secure_boot_is_told_and_tried(
    host: Host, image: Image, checkpoints: CheckpointStore, tmp_path: Path, name: str
) -> None:
    (cell,) = expand(load(), Selection(cell=(f"{name}+qemu-tcg+none",)), today=dt.datetime.now(dt.UTC).date())
    secure = name == "debian-12-secure-boot"
    with Guest(cell, host, image, tmp_path / "first", checkpoints=checkpoints, run_id="tests") as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        probe_firmware_matches(guest, attach=attach)
        other = "uefi" if secure else "uefi-secure-boot"
        guest.spec = cell.guest.model_copy(update={"firmware": other})
        with pytest.raises(AssertionError, match="expected Secure Boot to be"):
            probe_firmware_matches(guest, attach=attach)
    with Guest(cell, host, image, tmp_path / "second", checkpoints=checkpoints, run_id="tests") as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        assert guest.origin == "checkpoint"
        if secure:
            probe_unsigned_loader_refused(guest, attach=attach, step=step)
            assert "Access Denied" in guest.console_text()
        else:
            with pytest.raises(AssertionError, match="expected the firmware to refuse a loader without a signature"):
                probe_unsigned_loader_refused(guest, attach=attach, step=step)


def test_a_loader_that_waits_ten_minutes_is_told_to_go_on(
    host: Host, image: Image, checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    (cell,) = expand(load(), Selection(cell=("debian-12-uefi+qemu-tcg+none",)), today=dt.datetime.now(dt.UTC).date())
    with Guest(cell, host, image, tmp_path / "guest", checkpoints=checkpoints, run_id="tests") as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        assert not guest.boot_timeline.menu_answered
        menu = "/boot/grub/grub.cfg"
        done = guest.run(
            ["sh", "-c", f"sed -i 's/^set timeout=0$/set timeout=600/' {menu} && grep -c 600 {menu}; sync"]
        )
        assert done.text == "1\n"
        guest.power_off()
        guest.start(Deadline.after(PATIENT))
        assert "executed automatically in" in guest.console_text()
        assert guest.boot_timeline.menu_answered
