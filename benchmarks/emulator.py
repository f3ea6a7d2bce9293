"""A cold boot in the QEMU that guests of this machine run in, against the machine's own in the same run."""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile
from contextlib import closing
from pathlib import Path

from cli.bench import NotMeasured
from fixtures.deadline import Deadline
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Image, Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import Cell, HostSpec, Selection
from matrix.places import cache_dir

_CELL = "debian-12-sysvinit+qemu-tcg+none"
"""Its services are shell scripts, which start program after program."""

_ROUNDS = 3
_BOOT_SECONDS = 900.0


def measure() -> dict[str, float]:
    """Medians of three rounds in turns, seconds from power-on to the first command: `boot_s` in the QEMU that is chosen for
    guests, `own_boot_s` in the machine's own, `over_own` the median of their ratios.

    Raises NotMeasured where both are the same.
    """
    (cell,) = expand(load(), Selection(cell=(_CELL,)), today=dt.datetime.now(dt.UTC).date())
    spec, rounds = HostSpec(id="local", uri="qemu:///embed"), []
    images = Store(cache_dir())
    with (
        closing(images),
        Host.open(spec) as chosen,
        Host.open(spec, own_emulator=True) as own,
        tempfile.TemporaryDirectory(prefix="bench-", dir=cache_dir()) as folder,
    ):
        if chosen.connection.emulator is None:
            raise NotMeasured("guests of this machine run in its own QEMU")
        image = images.obtain(load_catalogue()[cell.guest.image])
        for number in range(_ROUNDS):
            room = Path(folder) / str(number)
            rounds.append((_boot(cell, chosen, image, room / "chosen"), _boot(cell, own, image, room / "own")))
    chosen_s, own_s = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {"boot_s": chosen_s, "own_boot_s": own_s, "over_own": statistics.median(a / b for a, b in rounds)}


def _boot(cell: Cell, host: Host, image: Image, folder: Path) -> float:
    with Guest(cell, host, image, folder) as guest:
        guest.to(State.READY, Deadline.after(_BOOT_SECONDS))
        seconds = guest.boot_timeline.ready_s
        assert seconds is not None  # noqa: S101 -- a boot that we have seen
        return seconds
