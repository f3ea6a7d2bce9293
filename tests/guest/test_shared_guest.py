"""What the shared guest's probes are told when it ends while they use it, between two of them, or while it boots."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.cell_guests import CellGuests
from fixtures.checkpoint import CheckpointStore
from fixtures.deadline import Deadline
from fixtures.faults import ChannelLost, GuestFault, HostFault, ShutOff
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Image, Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import Binding, Cell, Selection
from matrix.places import cache_dir
from tests.emulator_processes import emulators

SECONDS = 300
"""For a boot or a restore, which takes 3 s on a free machine."""

POWER_OFF = ("sh", "-c", "(sleep 0.3; poweroff -f) </dev/null >/dev/null 2>&1 &")


@pytest.fixture(scope="module")
def cell() -> Cell:
    (found,) = expand(load(), Selection(cell=("minimal+qemu-tcg+none",)), today=dt.datetime.now(dt.UTC).date())
    return found


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    store = Store(cache_dir())
    yield store.obtain(load_catalogue()["minimal"])
    store.close()


@pytest.fixture
def guests(cell: Cell, host: Host, image: Image, checkpoints: CheckpointStore, tmp_path: Path) -> Iterator[CellGuests]:
    made = CellGuests(
        Binding(cell=cell, host_id="local"),
        host,
        image,
        checkpoints=checkpoints,
        folder=tmp_path / "guests",
        run_id="t",
    )
    yield made
    made.close()


def ready(guests: CellGuests) -> Guest:
    """The shared guest, as a probe gets it (`fixtures.plugin`)."""
    shared = guests.shared()
    try:
        shared.to(State.READY, Deadline.after(SECONDS))
    except (GuestFault, HostFault) as fault:
        guests.start_failed(fault)
        raise
    return shared


def killed(guest: Guest) -> None:
    (qemu,) = emulators(f"guest={guest.plumbing.name},")
    qemu.kill()
    off(guest)


def told_to_end(guest: Guest) -> None:
    (qemu,) = emulators(f"guest={guest.plumbing.name},")
    qemu.terminate()
    off(guest)


def powered_off(guest: Guest) -> None:
    guest.run(POWER_OFF)
    off(guest)


def off(guest: Guest) -> None:
    deadline = Deadline.after(SECONDS)
    while guest.domain.powered and not deadline.expired:
        time.sleep(0.01)


ENDS = [
    pytest.param(killed, HostFault, "ended by itself", id="killed"),
    pytest.param(told_to_end, HostFault, "told to end by its host", id="told to end"),
    pytest.param(powered_off, ShutOff, "shut itself off", id="powered off"),
]


@pytest.mark.parametrize(("end", "kind", "said"), ENDS)
def test_one_that_ends_between_two_probes_is_told_to_the_next(
    guests: CellGuests, end: Callable[[Guest], None], kind: type[Exception], said: str
) -> None:
    first = ready(guests)
    assert guests.check_shared(suspicious=False) is None
    end(first)
    with pytest.raises(kind, match=said):
        ready(guests)
    second = ready(guests)
    assert second is not first
    assert first.closed
    assert second.run(["true"]).status == 0
    assert guests.check_shared(suspicious=False) is None
    assert "ended between two probes" in str(second.facts()["notes"])
    assert said in str(second.facts()["notes"])


@pytest.mark.parametrize(("end", "kind", "said"), ENDS)
def test_one_that_ends_before_a_probe_is_done_is_not_the_probes_doing(
    guests: CellGuests, end: Callable[[Guest], None], kind: type[Exception], said: str
) -> None:
    end(ready(guests))
    fault = guests.check_shared(suspicious=False)
    assert type(fault) is kind
    assert said in str(fault)


def test_one_whose_plug_a_probe_pulled_is_the_probes_doing(guests: CellGuests) -> None:
    ready(guests).power_off()
    fault = guests.check_shared(suspicious=False)
    assert type(fault) is GuestFault
    assert "the probe left the shared guest defined" in str(fault)


def test_one_that_powers_itself_off_while_it_boots_fails(cell: Cell, host: Host, image: Image, tmp_path: Path) -> None:
    with Guest(cell, host, image, tmp_path) as guest:
        guest.to(State.READY, Deadline.after(SECONDS))
        guest.run(["sh", "-c", "sync; poweroff -f &"])
        with pytest.raises(ShutOff, match="shut itself off"):
            guest.reconnect(Deadline.after(SECONDS))
        assert guest.state is State.BROKEN


def test_one_whose_plug_somebody_else_pulls_does_not_fail(cell: Cell, host: Host, image: Image, tmp_path: Path) -> None:
    with Guest(cell, host, image, tmp_path) as guest:
        guest.to(State.READY, Deadline.after(SECONDS))
        guest.domain.destroy()
        with pytest.raises(ChannelLost):
            guest.run(["true"])


def test_one_that_would_fill_the_disk_with_its_console_fails(
    cell: Cell, host: Host, image: Image, tmp_path: Path
) -> None:
    with Guest(cell, host, image, tmp_path) as guest:
        guest._instance.console._longest = 1 << 18
        guest.to(State.READY, Deadline.after(SECONDS))
        flood = "yes 'some ordinary line of a guest, sixty-four bytes of it all in all' >/dev/console"
        with pytest.raises(GuestFault, match="its console wrote more than"):
            guest.run(["sh", "-c", flood], timeout=SECONDS)


@pytest.mark.parametrize("verb", [Guest.pause, Guest.reset, Guest.request_shutdown, Guest.save_restore])
def test_a_verb_that_comes_after_the_emulators_end_is_the_hosts_fault(
    cell: Cell, host: Host, image: Image, tmp_path: Path, verb: Callable[[Guest], object]
) -> None:
    with Guest(cell, host, image, tmp_path) as guest:
        guest.to(State.READY, Deadline.after(SECONDS))
        (qemu,) = emulators(f"guest={guest.plumbing.name},")
        qemu.kill()
        with pytest.raises(HostFault):
            verb(guest)
        assert guest.state is State.BROKEN
