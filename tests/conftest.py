"""For all tests of the harness."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """SIGINT interrupts, also the programs that tests start, where a shell's background has it ignored.

    A handler is undone by exec; that a signal is ignored is inherited.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _own_leases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test has deadlines, and does not wait for its turn behind the runs of whoever else uses the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUESTCERT_LEASE_DIR", str(tmp_path_factory.mktemp("leases")))
        yield
