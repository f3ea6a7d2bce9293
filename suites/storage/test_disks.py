"""Are the guest's disks those that were defined, and do they keep what is written?"""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from fixtures.guest import Guest
from suites.fixture_types import Attach, OpenStep
from suites.persistence import checksum_snippet, reboot_from_inside, store_random_data
from suites.reading.batch import run_batch
from suites.reading.questions import ask, questions_for
from suites.storage.disks import judge_disk, storage_bounds


def test_disk_seen(guest: Guest, attach: Attach) -> None:
    """Every disk of the domain is there as defined.

    Preconditions: none.
    Steps: read name, size, serial and drivers of each block device.
    Expected: for each defined disk a device with its serial (where the bus shows one), its size and its bus's driver.
    """
    devices, _ = ask(guest, "its disks", questions_for(guest).disks)
    attach("block-devices.json", json.dumps([asdict(device) for device in devices], indent=2), "application/json")
    problems = [problem for disk in guest.definition.disks for problem in judge_disk(disk, devices)]
    assert not problems, f"{'; '.join(problems)}; see block-devices.json"


@pytest.mark.requires("linux")
def test_write_read_verify(fresh_guest: Guest, step: OpenStep) -> None:
    """What is written to a disk is there, unchanged, after a reboot.

    Preconditions: a file system of the guest is on a disk.
    Steps: write random data, keeping its SHA-256; reboot from inside, so that no cache can answer; read it again.
    Expected: the same SHA-256.
    """
    with step("write"):
        data = store_random_data(fresh_guest, "verified", storage_bounds().verified_blocks)
    with step("reboot"):
        reboot_from_inside(fresh_guest)
    with step("read"):
        batch = run_batch(fresh_guest, {"sum": checksum_snippet(data)}, timeout=60)
    seen = batch["sum"].word.partition(" ")[0]
    assert seen == data.sha256, (
        f"expected {data.path} on {data.mount.source} ({data.mount.filesystem}) to have SHA-256 {data.sha256} after a reboot, "
        f"got {seen or batch.error_text.strip()!r}"
    )
