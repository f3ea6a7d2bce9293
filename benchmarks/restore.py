"""Restore to first command, against the same state given to raw QEMU with `-incoming`, and against a cold boot."""

from __future__ import annotations

import datetime as dt
import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.raw_qemu import command_line, continue_when_loaded, plumbing_in, raw_boot, running
from fixtures.channels.port_shell import ERRORS_PORT, SHELL_PORT, PortShell, PortSockets
from fixtures.channels.protocol import Channel
from fixtures.checkpoint import Checkpoint, CheckpointStore
from fixtures.checkpoint_contents import shape_of
from fixtures.deadline import Deadline
from fixtures.definition import Definition
from fixtures.guest import Guest, State
from fixtures.host import Host
from fixtures.hypervisors.qemu import QemuDriver
from fixtures.hypervisors.qemu_save_image import SaveImage
from fixtures.this_machine import ThisMachine
from images import Image, Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import Cell, HostSpec, Selection
from matrix.places import cache_dir, runtime_dir

_CELL = "debian-12+qemu-tcg+none"
_ROUNDS = 5
_BOOTS = 3
_BOOT_SECONDS = 900.0


def measure() -> dict[str, float]:
    """Measured in one run, medians of five rounds in turns (of boots three), seconds.

    `restore_s` from `to(READY)` of a guest that has a checkpoint to the answer to its first command, clock and
    randomness set right by then; `raw_s` from the start of a QEMU with the same command line and saved memory, to the
    answer to a first command over the same kind of channel; `over_raw` their ratio; `cold_boot_s` from power-on to the first
    command over SSH; `raw_boot_s` from power-on to the login prompt of the same guest in a QEMU started by hand, and
    `over_raw_boot` their ratio; `over_cold_boot` the restore's share of the cold boot.
    """
    (cell,) = expand(load(), Selection(cell=(_CELL,)), today=dt.datetime.now(dt.UTC).date())
    images = Store(cache_dir())
    with (
        closing(images),
        Host.open(HostSpec(id="local", uri="qemu:///embed")) as host,
        tempfile.TemporaryDirectory(prefix="bench-", dir=cache_dir()) as folder,
    ):
        bench = _Bench(cell, host, images.obtain(load_catalogue()[cell.guest.image]), Path(folder))
        boots = [(bench.cold_boot(), bench.raw_boot()) for _ in range(_BOOTS)]
        rounds = [(bench.restore(), bench.raw()) for _ in range(_ROUNDS)]
    cold, raw_cold = (statistics.median(column) for column in zip(*boots, strict=True))
    restore, raw = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "restore_s": restore,
        "raw_s": raw,
        "over_raw": statistics.median(ours / theirs for ours, theirs in rounds),
        "cold_boot_s": cold,
        "raw_boot_s": raw_cold,
        "over_raw_boot": statistics.median(ours / theirs for ours, theirs in boots),
        "over_cold_boot": restore / cold,
    }


class _Bench:
    def __init__(self, cell: Cell, host: Host, image: Image, folder: Path) -> None:
        self._cell, self._host, self._image, self._folder = cell, host, image, folder
        self._store = CheckpointStore(folder / "checkpoints")
        self._count = 0

    def cold_boot(self) -> float:
        """Boots, leaves the checkpoint if there is none, and returns the seconds to ready."""
        with self._guest(cold=True) as guest:
            guest.to(State.READY, Deadline.after(_BOOT_SECONDS))
            seconds = guest.boot_timeline.ready_s
            assert seconds is not None  # noqa: S101 -- a boot that we have seen
            return seconds

    def raw_boot(self) -> float:
        """The same cold boot in a QEMU that we start ourselves, to the login prompt."""
        with self._guest() as guest:
            return raw_boot([guest], Deadline.after(_BOOT_SECONDS))[0]

    def restore(self) -> float:
        with self._guest() as guest:
            begun = time.monotonic()
            guest.to(State.READY)
            guest.check(["true"])
            seconds = time.monotonic() - begun
            assert guest.origin == "checkpoint", guest.notes  # noqa: S101 -- else this is no restore
            return seconds

    def raw(self) -> float:
        """The same state in a QEMU that we start ourselves."""
        with self._guest() as guest:
            key = self._store.key(shape_of(guest.definition, self._image, self._host, QemuDriver()))
            checkpoint, problem = self._store.find(key)
            assert checkpoint is not None, problem  # noqa: S101 -- the cold boot left it
            with tempfile.TemporaryDirectory(prefix="b", dir=runtime_dir()) as scratch:
                return _raw_restore(self._host, guest.definition, checkpoint, Path(scratch), self._folder)

    def _guest(self, *, cold: bool = False) -> Guest:
        self._count += 1
        folder = self._folder / f"guest-{self._count}"
        return Guest(self._cell, self._host, self._image, folder, checkpoints=self._store, run_id="bench", cold=cold)


def _raw_restore(host: Host, definition: Definition, checkpoint: Checkpoint, scratch: Path, disks: Path) -> float:
    disk = disks / f"raw-{scratch.name}.qcow2"
    plumbing = plumbing_in(scratch, definition, disk, host)
    xml = QemuDriver().rewired_xml(checkpoint.domain_xml.read_text(), definition, plumbing)
    command = command_line(host, xml, scratch / "monitor")
    ports = PortSockets(plumbing.ports[SHELL_PORT], plumbing.ports[ERRORS_PORT])
    offset = SaveImage.read(ThisMachine(), checkpoint.memory).stream_offset
    with closing(ports), checkpoint.memory.open("rb") as memory:
        begun = time.monotonic()
        ThisMachine().create_overlay(
            disk, checkpoint.disk(definition.root_disk.name), "qcow2", definition.root_disk.size_bytes
        )
        os.lseek(memory.fileno(), offset, os.SEEK_SET)
        with running([*command, "-incoming", f"fd:{memory.fileno()}"], memory.fileno()):
            streams = ports.accept(Deadline.after(60))
            continue_when_loaded(scratch / "monitor")
            shell = PortShell.woken(streams, checkpoint.shell_pid, _no_other_channel)
            answer = shell.run(["true"], timeout=60)
            seconds = time.monotonic() - begun
            assert answer.status == 0  # noqa: S101 -- `true`
            shell.close()
    disk.unlink()
    return seconds


def _no_other_channel() -> Channel:
    raise RuntimeError("the raw QEMU has one channel only")
