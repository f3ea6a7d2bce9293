"""Restore to first command, against the same state given to raw QEMU with `-incoming`, and against a cold boot."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import socket
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from fixtures.channels.port_shell import ERRORS_PORT, SHELL_PORT, PortShell, PortSockets
from fixtures.channels.protocol import Channel
from fixtures.checkpoint import Checkpoint, CheckpointStore
from fixtures.checkpoint_contents import shape_of
from fixtures.deadline import Deadline
from fixtures.definition import Definition, Plumbing
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
_BOOT_SECONDS = 900.0
_STATUS_POLL = 0.02
_USER_NETWORK = json.dumps({"type": "user", "id": "hostnet0"})


def measure() -> dict[str, float]:
    """Measured in one run, medians of five rounds in turns, seconds.

    `restore_s` from `to(READY)` of a guest that has a checkpoint to the answer to its first command, clock and
    randomness set right by then; `raw_s` from the start of a QEMU with the same command line and saved memory, to the
    answer to a first command over the same kind of channel; `over_raw` their ratio; `cold_boot_s` from power-on to the first
    command over SSH; `over_cold_boot` the restore's share of it.
    """
    (cell,) = expand(load(), Selection(cell=(_CELL,)), today=dt.datetime.now(dt.UTC).date())
    images = Store(cache_dir())
    with (
        closing(images),
        Host.open(HostSpec(id="local", uri="qemu:///embed")) as host,
        tempfile.TemporaryDirectory(prefix="bench-", dir=cache_dir()) as folder,
    ):
        bench = _Bench(cell, host, images.obtain(load_catalogue()[cell.guest.image]), Path(folder))
        cold = bench.cold_boot()
        rounds = [(bench.restore(), bench.raw()) for _ in range(_ROUNDS)]
    restore, raw = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "restore_s": restore,
        "raw_s": raw,
        "over_raw": statistics.median(ours / theirs for ours, theirs in rounds),
        "cold_boot_s": cold,
        "over_cold_boot": restore / cold,
    }


class _Bench:
    def __init__(self, cell: Cell, host: Host, image: Image, folder: Path) -> None:
        self._cell, self._host, self._image, self._folder = cell, host, image, folder
        self._store = CheckpointStore(folder / "checkpoints")
        self._count = 0

    def cold_boot(self) -> float:
        """Boots, leaves the checkpoint, and returns the seconds to ready."""
        with self._guest() as guest:
            guest.to(State.READY, Deadline.after(_BOOT_SECONDS))
            seconds = guest.boot_timeline.ready_s
            assert seconds is not None  # noqa: S101 -- a boot that we have seen
            return seconds

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

    def _guest(self) -> Guest:
        self._count += 1
        folder = self._folder / f"guest-{self._count}"
        return Guest(self._cell, self._host, self._image, folder, checkpoints=self._store, run_id="bench")


def _raw_restore(host: Host, definition: Definition, checkpoint: Checkpoint, scratch: Path, disks: Path) -> float:
    disk = disks / f"raw-{scratch.name}.qcow2"
    plumbing = Plumbing(
        name="bench-raw",
        uuid="5f1a7f0e-6f0c-4a53-9b0b-0d1f2c8f6b12",
        folder=scratch,
        disks={definition.root_disk.name: disk},
        console_log=scratch / "console.log",
        console_socket=scratch / "console",
        agent_socket=scratch / "agent",
        ports={SHELL_PORT: scratch / "shell", ERRORS_PORT: scratch / "errors"},
    )
    xml = QemuDriver().rewired_xml(checkpoint.domain_xml.read_text(), definition, plumbing)
    command = _command_line(host, xml, scratch / "monitor")
    ports = PortSockets(plumbing.ports[SHELL_PORT], plumbing.ports[ERRORS_PORT])
    offset = SaveImage.read(checkpoint.memory).stream_offset
    with closing(ports), checkpoint.memory.open("rb") as memory:
        begun = time.monotonic()
        ThisMachine().create_overlay(
            disk, checkpoint.disk(definition.root_disk.name), "qcow2", definition.root_disk.size_bytes
        )
        os.lseek(memory.fileno(), offset, os.SEEK_SET)
        command += ["-incoming", f"fd:{memory.fileno()}"]
        qemu = subprocess.Popen(command, pass_fds=[memory.fileno()], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            streams = ports.accept(Deadline.after(60))
            _continue_when_loaded(scratch / "monitor")
            shell = PortShell.woken(streams, checkpoint.shell_pid, _no_other_channel)
            answer = shell.run(["true"], timeout=60)
            seconds = time.monotonic() - begun
            assert answer.status == 0  # noqa: S101 -- `true`
            shell.close()
        finally:
            qemu.kill()
            qemu.communicate()
            disk.unlink()
    return seconds


def _command_line(host: Host, xml: str, monitor: Path) -> list[str]:
    """libvirt's own QEMU command line for `xml`, without the few things that only libvirt can fill in."""
    words = shlex.split(str(host.connection.raw.domainXMLToNative("qemu-argv", xml, 0)))
    while "=" in words[0]:
        words.pop(0)
    kept: list[str] = []
    pairs = iter(words)
    for word in pairs:
        if word in {"-object", "-netdev", "-chardev"}:
            value = next(pairs)
            if "masterKey0" in value:
                continue
            if word == "-netdev":
                value = _USER_NETWORK
            if "id=charmonitor" in value:
                value = f"socket,id=charmonitor,path={monitor},server=on,wait=off"
            kept += [word, value]
        else:
            kept.append(word)
    return kept


def _continue_when_loaded(monitor: Path) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(monitor))
        with raw.makefile("rwb") as line:
            json.loads(line.readline())
            _ask(line, "qmp_capabilities")
            while _ask(line, "query-status")["status"] == "inmigrate":
                time.sleep(_STATUS_POLL)
            _ask(line, "cont")


def _ask(line: Any, command: str) -> Any:
    line.write(json.dumps({"execute": command}).encode() + b"\n")
    line.flush()
    while "return" not in (answer := json.loads(line.readline())):
        if "error" in answer:
            raise RuntimeError(f"QMP {command}: {answer['error']['desc']}")
    return answer["return"]


def _no_other_channel() -> Channel:
    raise RuntimeError("the raw QEMU has one channel only")
