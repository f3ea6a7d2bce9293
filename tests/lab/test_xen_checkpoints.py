"""Guests of a real Xen, in a network that they share: booted once, then saved and restored under another name."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fixtures.cell_guests import CellGuests
from fixtures.checkpoint import CheckpointStore
from fixtures.deadline import Deadline
from fixtures.guest import Guest, State
from fixtures.host import Host
from fixtures.host_checkpoints import HostCheckpoints
from fixtures.hosts import Hosts
from fixtures.lease import Leases
from images import Image, Store, load_catalogue
from matrix.expand import expand
from matrix.lab import lab_cells, lab_host_specs
from matrix.load import load
from matrix.model import Binding, Selection
from matrix.places import cache_dir

pytestmark = pytest.mark.slow  # lab hosts are restored for it

XEN = "lab-xen"
SLOW = 900.0


@pytest.fixture(scope="module")
def images() -> Iterator[Store]:
    with closing(Store(cache_dir())) as store:
        yield store


def obtained(images: Store, name: str) -> Image:
    return images.obtain(load_catalogue()[name])


@pytest.fixture(scope="module")
def host(images: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The lab host, restored from its checkpoint if there is one."""
    matrix = load()
    spec = lab_host_specs(matrix)[XEN]
    cells = {cell.guest.id: cell for cell in lab_cells(matrix, [spec])}
    hosts = Hosts(
        cells,
        lambda name: obtained(images, name),
        CheckpointStore(cache_dir() / "checkpoints"),
        folder=tmp_path_factory.mktemp("hosts"),
        run_id="tests",
        leases=Leases("tests", print),
    )
    with closing(hosts):
        yield hosts.of(spec)


@pytest.fixture(params=["minimal+xen-pv+none", "minimal+xen-pvh+svm"])
def guests(request: pytest.FixtureRequest, host: Host, images: Store, tmp_path: Path) -> Iterator[CellGuests]:
    (cell,) = expand(load(), Selection(cell=(request.param,)), today=dt.datetime.now(dt.UTC).date())
    with ExitStack() as stack:
        there = stack.enter_context(closing(HostCheckpoints(tmp_path / "checkpoints", host)))
        yield stack.enter_context(
            closing(
                CellGuests(
                    Binding(cell=cell, host_id=host.id),
                    host,
                    obtained(images, cell.guest.image),
                    checkpoints=there,
                    folder=tmp_path / "guests",
                    run_id="tests",
                )
            )
        )


def ready(guest: Guest) -> Guest:
    guest.to(State.READY, Deadline.after(SLOW))
    return guest


def test_one_boot_serves_the_guests_of_a_cell(guests: CellGuests, host: Host, tmp_path: Path) -> None:
    with closing(ready(guests.cold(tmp_path / "first"))) as first:
        assert (first.origin, first.notes) == ("cold", ())  # a note would say that it could not be saved, or restored
        name = first.plumbing.name
        first.check(["sh", "-c", "echo first >/whose"])
    with closing(ready(guests.fresh(tmp_path / "second"))) as second:
        assert (second.origin, second.notes) == ("checkpoint", ())
        assert second.check(["echo", "here"]) == "here\n"
        assert second.plumbing.name != name
        assert second.run(["test", "-e", "/whose"]).status == 1
        assert abs(int(second.check(["date", "+%s"])) - time.time()) < 30
        assert "Linux version" in second.console_text()
        random = ["cat", "/proc/sys/kernel/random/uuid"]
        drawn = second.check(random)
    assert drawn != ready(guests.shared()).check(random)
    guests.check_shared(suspicious=False)
    guests.drop_shared()
    assert [domain.name for domain in host.connection.domains()] == ["Domain-0"]
