"""A real image with cloud-init: nobody could log in to it but for the seed that is attached to its domain."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.checkpoint import CheckpointStore
from fixtures.deadline import Deadline
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Image, Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import Selection
from matrix.places import cache_dir

NAME = "debian-12-cloud-init"
PATIENT = 400.0

pytestmark = pytest.mark.slow  # an image of its own, and cloud-init at first boot


@pytest.fixture
def seeded() -> Iterator[Image]:
    store = Store(cache_dir())
    yield store.obtain(load_catalogue()[NAME])
    store.close()


def test_cloud_init_takes_keys_and_name_from_the_seed(
    host: Host, seeded: Image, checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    (cell,) = expand(load(), Selection(cell=(f"{NAME}+qemu-tcg+none",)), today=dt.datetime.now(dt.UTC).date())
    assert seeded.seed == "cloud-init"
    with Guest(cell, host, seeded, tmp_path / "first", checkpoints=checkpoints, run_id="tests") as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        assert guest.facts()["entered_by"] == "ssh"  # with the pinned host key, which the image does not have
        assert guest.check(["cat", "/etc/hostname"]) == f"{NAME}\n"
        assert "status: done" in guest.check(["cloud-init", "status", "--wait"], timeout=PATIENT)
        assert seeded.host_public_key.split()[1] in guest.check(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])
        assert guest.check(["sh", "-c", "ls /etc/ssh/ssh_host_*_key"]) == "/etc/ssh/ssh_host_ed25519_key\n"
        assert "DataSourceNoCloud" in guest.check(["cat", "/var/lib/cloud/instance/datasource"])
        before = guest.boot_id()
        seed = guest.plumbing.seed
        assert seed is not None
        assert seed.exists()
    assert not seed.exists()
    with Guest(cell, host, seeded, tmp_path / "second", checkpoints=checkpoints, run_id="tests") as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        assert (guest.origin, guest.boot_id()) == ("checkpoint", before)
        disc = ["dd", "if=/dev/disk/by-label/CIDATA", "bs=1", "skip=32769", "count=5"]
        assert guest.check(disc) == "CD001"  # ECMA-119, section 8: it is still there, and a file of this instance
