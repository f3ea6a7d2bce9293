"""The virtual machine that an installer runs in: QEMU as a child of this process, watched until it powers off."""

from __future__ import annotations

import os
import re
import selectors
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from images.answers import WORD
from images.command import child_environment, tied_to_us
from images.emulator import Emulator
from images.faults import ImageFault
from images.installer_console import InstallerConsole
from images.progress import Reporter

_CPU = {
    # x86-64-v2 (psABI) plus AES, and nothing beyond it: as for guests under TCG (docs/boot-time.md).
    "x86-64-v2": "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq",
    "max": "max",
}
_SAY_SECONDS = 30.0
"""How often the console is quoted while an installation runs."""
_CHUNK = 64 * 1024
_WORD_BYTES = 256


@dataclass(frozen=True)
class Machine:
    """What the installer is given. Files are names in the folder it runs in; `cd_roms` in the order of their letters.

    `kernel` None: the first CD-ROM is booted. `reboots`: a reboot is not the end.
    """

    disk_bus: Literal["virtio", "sata"]
    memory_mib: int
    cpu: Literal["x86-64-v2", "max"]
    kernel: str | None = None
    initrd: str | None = None
    arguments: tuple[str, ...] = ()
    cd_roms: tuple[str, ...] = ()
    reboots: bool = False
    question: str | None = None
    patience: float = 60.0
    """Seconds after which a question that is the last thing on the console is taken to wait for a person."""

    def command(self, console: int, word: int, emulator: Emulator) -> list[str]:
        """QEMU's command line; `console` and `word` are descriptors of sockets for the two serial ports."""
        virtio = self.disk_bus == "virtio"
        disk = "virtio-blk-pci" if virtio else "ide-hd,bus=ide.0"
        return [
            *(emulator.path, "-name", "guestcert-installer", "-machine", "q35", "-nodefaults", "-no-user-config"),
            *(("-accel", "kvm", "-cpu", "host") if emulator.kvm else ("-accel", "tcg", "-cpu", _CPU[self.cpu])),
            # One in software: a kernel that patched its code for a changed clock died of it with two (QEMU 7.2, Linux 6.12).
            *("-smp", "2" if emulator.kvm else "1", "-m", str(self.memory_mib), "-display", "none", "-rtc", "base=utc"),
            *([] if self.reboots else ["-no-reboot"]),
            *("-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=word,fd={word}", "-serial", "chardev:word"),
            # What a crash of this machine would lose is thrown away then anyway.
            *("-drive", "if=none,id=disk,format=qcow2,file=disk,cache=unsafe,discard=unmap"),
            *("-device", f"{disk},drive=disk,bootindex=1"),
            *(word for number, name in enumerate(self.cd_roms, 1) for word in _cd_rom(number, name)),
            *("-netdev", "user,id=net", "-device", f"{'virtio-net-pci' if virtio else 'e1000e'},netdev=net"),
            *("-device", "virtio-rng-pci"),
            # Windows is not to be had without a screen, whoever looks at it.
            *(["-device", "VGA"] if self.kernel is None else ["-kernel", self.kernel]),
            *([] if self.initrd is None else ["-initrd", self.initrd]),
            *([] if self.kernel is None else ["-append", " ".join(self.arguments)]),
        ]


def _cd_rom(number: int, name: str) -> list[str]:
    drive = f"if=none,id=cd{number},format=raw,media=cdrom,readonly=on,file={name}"
    return ["-drive", drive, "-device", f"ide-cd,bus=ide.{number},drive=cd{number},bootindex={number + 1}"]


def install(
    machine: Machine, folder: Path, *, log: Path, seconds: float, report: Reporter, name: str, emulator: Emulator
) -> None:
    """Run `machine` in `folder`, where `disk` is its empty disk, until it powers off having said that all went well.

    Nothing of it is left when this returns or raises, also when this process is killed. Raises ImageFault for anything
    but success, with the last lines of the console; `log` has all of it.
    """
    with ExitStack() as stack:
        console = InstallerConsole(stack.enter_context(log.open("ab", buffering=0)))
        stack.callback(console.close)
        errors = stack.enter_context((folder / "qemu.errors").open("w+b"))
        ours, theirs = zip(*(_pair(stack) for _ in range(2)), strict=True)
        descriptors = [each.fileno() for each in theirs]
        process = subprocess.Popen(
            tied_to_us(machine.command(descriptors[0], descriptors[1], emulator)),
            cwd=folder,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=descriptors,
        )
        stack.callback(_end, process)
        for each in theirs:
            each.close()
        watch = _Watch(process, console, ours[0], ours[1], machine=machine, report=report, name=name)
        ended = watch.until(time.monotonic() + seconds)
        errors.seek(0)
        _judge(ended, process, watch, errors.read(_CHUNK), seconds)


Ended = Literal["by itself", "late", "asking"]


class _Watch:
    """Reads both serial ports until the process ends."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        console: InstallerConsole,
        console_port: socket.socket,
        word_port: socket.socket,
        *,
        machine: Machine,
        report: Reporter,
        name: str,
    ) -> None:
        self._process = process
        self.console = console
        self._ports = console_port, word_port
        self._question = re.compile(machine.question) if machine.question else None
        self._patience = machine.patience
        self._report = report
        self._name = name
        self._began = self._said = time.monotonic()
        self.word = b""

    def until(self, deadline: float) -> Ended:
        """How it ended; `deadline` is monotonic, in seconds."""
        ended = os.pidfd_open(self._process.pid)
        asking: float | None = None
        try:
            with selectors.DefaultSelector() as selector:
                for each in (*self._ports, ended):
                    selector.register(each, selectors.EVENT_READ)
                while True:
                    now = time.monotonic()
                    if now >= deadline:
                        return "late"
                    if asking is not None and now >= asking:
                        return "asking"
                    ready = [key.fileobj for key, _ in selector.select(min(deadline, asking or deadline) - now)]
                    open_ports = [port for port in self._ports if port in ready]
                    for port in open_ports:
                        if not self._take(port):
                            selector.unregister(port)
                    if ended in ready and not open_ports:  # everything it said has been read
                        return "by itself"
                    if self._ports[0] in ready:
                        asking = time.monotonic() + self._patience if self._is_question() else None
        finally:
            os.close(ended)

    def _take(self, port: socket.socket) -> bool:
        try:
            data = port.recv(_CHUNK)
        except ConnectionResetError:
            data = b""
        if port is self._ports[1]:
            self.word = (self.word + data)[-_WORD_BYTES:]
        else:
            self.console.take(data)
            self._say()
        return bool(data)

    def _say(self) -> None:
        # Also of a line that is not at its end: Debian's installer counts to 100 % in one, for many minutes.
        now, line = time.monotonic(), self.console.end
        if line and now - self._said >= _SAY_SECONDS:
            self._said = now
            self._report.say(f"{self._name}, {(now - self._began) / 60:.0f} min: {line}")

    def _is_question(self) -> bool:
        return self._question is not None and self._question.search(self.console.end) is not None


def _judge(ended: Ended, process: subprocess.Popen[bytes], watch: _Watch, errors: bytes, seconds: float) -> None:
    quoted = " | ".join(watch.console.last_lines(3))
    said = f"; the console last said: {quoted}" if quoted else "; its console said nothing"
    if ended == "late":
        raise ImageFault(f"the installation did not end within {seconds / 60:.0f} min{said}")
    if ended == "asking":
        raise ImageFault(f"the installer asks what its answers do not say{said}")
    status = process.wait()
    if status != 0:
        complaints = errors.decode(errors="replace").strip().splitlines()
        words = f": {complaints[-1][:300]}" if complaints else ""
        raise ImageFault(f"QEMU ended with status {status}{words}{said}")
    if WORD.encode("ascii") not in watch.word:
        raise ImageFault(f"the installer ended the machine without having finished{said}")


def _pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    return stack.enter_context(ours), stack.enter_context(theirs)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
