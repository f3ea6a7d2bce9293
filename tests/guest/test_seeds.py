"""Real images with cloud-init and with Ignition: nobody could log in to them but for the seed that is attached to their domain."""

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
from matrix.model import Cell, Selection
from matrix.places import cache_dir
from suites.persistence import reboot_from_inside

CLOUD_INIT = "debian-12-cloud-init"
IGNITION = "debian-12-ignition"
PATIENT = 400.0

pytestmark = pytest.mark.slow  # images of their own, and a first boot that configures


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store(cache_dir())
    yield opened
    opened.close()


def seeded_guest(name: str, store: Store) -> tuple[Cell, Image]:
    (cell,) = expand(load(), Selection(cell=(f"{name}+qemu-tcg+none",)), today=dt.datetime.now(dt.UTC).date())
    return cell, store.obtain(load_catalogue()[name])


def test_cloud_init_takes_keys_and_name_from_the_seed(
    host: Host, store: Store, checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    cell, seeded = seeded_guest(CLOUD_INIT, store)
    assert seeded.seed == "cloud-init"
    with Guest(cell, host, seeded, tmp_path / "first", checkpoints=checkpoints, run_id="tests") as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        assert guest.facts()["entered_by"] == "ssh"  # with the pinned host key, which the image does not have
        assert guest.check(["cat", "/etc/hostname"]) == f"{CLOUD_INIT}\n"
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


def test_ignition_takes_keys_and_name_from_the_seed(
    host: Host, store: Store, checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    cell, seeded = seeded_guest(IGNITION, store)
    assert seeded.seed == "ignition"
    with Guest(cell, host, seeded, tmp_path / "first", checkpoints=checkpoints, run_id="tests") as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        assert guest.facts()["entered_by"] == "ssh"  # with the pinned host key, which the image does not have
        assert guest.check(["cat", "/etc/hostname"]) == f"{IGNITION}\n"
        assert guest.check(["stat", "-c", "%a %U", "/etc/ssh/ssh_host_ed25519_key"]) == "600 root\n"
        journal = guest.check(["journalctl", "--boot", "--no-pager", "-o", "cat", "-u", "ignition-files.service"])
        assert "wrote ssh authorized keys file for user: root" in journal
        seed = guest.plumbing.seed
        assert seed is not None
        assert seed.exists()
        before = guest.boot_id()
        guest.check(["sh", "-c", "echo another >/etc/hostname"])
        reboot_from_inside(guest)
        assert guest.boot_id() != before
        assert guest.check(["cat", "/etc/hostname"]) == f"{IGNITION}\n"  # to a direct boot every one is the first
    assert not seed.exists()
