"""A host, an image and a checkpoint store for tests that work with guests directly."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fixtures.checkpoint import CheckpointStore
from fixtures.guest import Guest
from fixtures.host import Host
from images import Image, Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import Cell, HostSpec, Selection
from matrix.places import cache_dir

CELL = "debian-12+qemu-tcg+none"


@pytest.fixture(scope="session")
def cell() -> Cell:
    (found,) = expand(load(), Selection(cell=(CELL,)), today=dt.datetime.now(dt.UTC).date())
    return found


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host.open(HostSpec(id="local", uri="qemu:///embed")) as opened:
        yield opened


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    store = Store(cache_dir())
    yield store.obtain(load_catalogue()["debian-12"])
    store.close()


@pytest.fixture(scope="session")
def checkpoints() -> Iterator[CheckpointStore]:
    """A store of the tests' own beside the image, so that they make and break checkpoints that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="tests-checkpoints-", dir=cache_dir()) as folder:
        yield CheckpointStore(Path(folder))


MakeGuest = Callable[..., Guest]


@pytest.fixture
def make_guest(
    cell: Cell, host: Host, image: Image, checkpoints: CheckpointStore, tmp_path: Path
) -> Iterator[MakeGuest]:
    """Makes guests that are closed at the end; `reuse=False` for one that knows no checkpoints."""
    with ExitStack() as stack:

        def make(name: str = "guest", *, reuse: bool = True, cold: bool = False) -> Guest:
            store = checkpoints if reuse else None
            guest = Guest(cell, host, image, tmp_path / name, checkpoints=store, run_id="tests", cold=cold)
            return stack.enter_context(guest)

        yield make
