"""Checkpoints of real guests: made once, restored side by side, never trusted when broken."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.checkpoint import CheckpointStore
from fixtures.checkpoint_contents import shape_of
from fixtures.deadline import Deadline
from fixtures.domain import Domain
from fixtures.faults import NotSaved
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Image
from matrix.model import Cell

MakeGuest = Callable[..., Guest]

SLOW = 900


def ready(guest: Guest) -> Guest:
    guest.to(State.READY, Deadline.after(SLOW))
    return guest


def folder_of(guest: Guest, store: CheckpointStore) -> Path:
    return store.folder / store.key(shape_of(guest.definition, guest.image, guest.host, guest.host.driver("qemu")))


@pytest.fixture
def first(make_guest: MakeGuest, checkpoints: CheckpointStore) -> Guest:
    """A ready guest; afterwards there is a checkpoint."""
    guest = ready(make_guest("first"))
    assert folder_of(guest, checkpoints).is_dir()
    return guest


def test_siblings_run_side_by_side_and_share_nothing_they_write(first: Guest, make_guest: MakeGuest) -> None:
    sibling = ready(make_guest("sibling"))
    assert sibling.origin == "checkpoint"
    assert sibling.checkpoint_run == "tests"
    assert sibling.notes == ()
    assert sibling.boot_id() == first.boot_id()
    sibling.check(["sh", "-c", "echo mine >/root/mine; sync"])
    assert first.run(["test", "-e", "/root/mine"]).status == 1
    assert sibling.plumbing.name != first.plumbing.name


def test_a_restored_guest_has_the_right_time_and_randomness_of_its_own(first: Guest, make_guest: MakeGuest) -> None:
    sibling = ready(make_guest("sibling"))
    for guest in (first, sibling):
        assert abs(int(guest.check(["date", "+%s"])) - time.time()) < 30
    random = ["cat", "/proc/sys/kernel/random/uuid"]
    assert first.check(random) != sibling.check(random)


def test_the_console_of_the_boot_comes_along(first: Guest, make_guest: MakeGuest) -> None:
    sibling = ready(make_guest("sibling"))
    assert "Linux version" in sibling.console_text()
    assert sibling.boot_timeline == first.boot_timeline


def test_ssh_works_in_a_restored_guest_too(make_guest: MakeGuest) -> None:
    guest = ready(make_guest())
    data = bytes(range(256)) * 400
    assert guest.run(["wc", "-c"], stdin=data).text.split() == [str(len(data))]


def test_a_corrupt_checkpoint_is_discarded_and_booted_anew(
    first: Guest, make_guest: MakeGuest, checkpoints: CheckpointStore
) -> None:
    memory = folder_of(first, checkpoints) / "memory.save"
    memory.chmod(0o600)
    with memory.open("r+b") as file:
        file.seek(memory.stat().st_size // 2)
        file.write(b"corrupted")
    guest = ready(make_guest("after"))
    assert guest.origin == "cold"
    assert any("discarded" in note for note in guest.notes)
    assert guest.run(["true"]).status == 0
    assert folder_of(guest, checkpoints).is_dir()


def test_where_guests_cannot_be_saved_they_are_booted(
    cell: Cell, host: Host, image: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with libvirt 9.0 and QEMU 11.1."""

    def refuses(_self: Domain, path: str) -> None:
        tries.append(path)
        raise NotSaved("cannot save the guest: Parameter 'detach' is unexpected")

    tries: list[str] = []
    monkeypatch.setattr(Domain, "save", refuses)
    store = CheckpointStore(tmp_path / "store")
    for name in ("first", "second"):
        with Guest(cell, host, image, tmp_path / name, checkpoints=store, run_id="tests") as guest:
            guest.to(State.READY, Deadline.after(SLOW))
            assert guest.origin == "cold"
            assert "Parameter 'detach' is unexpected" in str(guest.facts()["notes"])
            assert guest.check(["uname"]).strip() == "Linux"
    assert len(tries) == 1, "the second is not to be tried"
    assert not list((tmp_path / "store").glob("*/checkpoint.json"))
