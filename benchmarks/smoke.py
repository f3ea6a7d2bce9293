"""A warm smoke run of the default guests, against raw QEMU booting the same guests side by side."""

from __future__ import annotations

import datetime as dt
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.certified_run import run, timed_run
from benchmarks.raw_qemu import raw_boot
from fixtures.deadline import Deadline
from fixtures.guest import Guest
from fixtures.host import Host
from images import Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import HostSpec, Selection
from matrix.places import cache_dir

_CELLS = ("debian-12+qemu-tcg+none", "debian-13+qemu-tcg+none")
_BOOT_SECONDS = 900.0


def measure() -> dict[str, float]:
    """Seconds: `smoke_s` of `guestcert run --profile smoke` with images and checkpoints there, its launcher left out;
    `raw_boots_s` until the last of the same guests, started together by hand, shows its login prompt; `over_raw_boots`
    their ratio. The run boots each guest twice (cold_boot, and the reboot of write_read_verify), so 2 is its floor.

    Raises NotMeasured.
    """
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache_dir()) as folder:
        # Restores only, where checkpoints are there; else it makes them.
        words = ["--profile", "smoke", *(word for cell in _CELLS for word in ("--cell", cell))]
        run(Path(folder, "warming"), *words, "-k", "os_identity")
        smoke = timed_run(Path(folder, "measured"), *words)
        raw = _raw_boots(Path(folder))
    return {"smoke_s": smoke, "raw_boots_s": raw, "over_raw_boots": smoke / raw}


def _raw_boots(folder: Path) -> float:
    cells = expand(load(), Selection(cell=_CELLS), today=dt.datetime.now(dt.UTC).date())
    catalogue = load_catalogue()
    with ExitStack() as stack:
        images = stack.enter_context(closing(Store(cache_dir())))
        host = stack.enter_context(Host.open(HostSpec(id="local", uri="qemu:///embed")))
        guests = [
            stack.enter_context(Guest(cell, host, images.obtain(catalogue[cell.guest.image]), folder / cell.guest.id))
            for cell in cells
        ]
        return max(raw_boot(guests, Deadline.after(_BOOT_SECONDS)))
