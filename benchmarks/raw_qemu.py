"""QEMU started by hand with libvirt's own command line: the reference that the harness is measured against."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fixtures.channels.byte_stream import console_socket
from fixtures.channels.port_shell import ERRORS_PORT, SHELL_PORT, PortSockets
from fixtures.console import ConsoleWatcher
from fixtures.console_answers import ConsoleAnswers
from fixtures.deadline import Deadline
from fixtures.definition import Definition, Plumbing
from fixtures.guest import Guest
from fixtures.host import Host
from fixtures.hypervisors.qemu import QemuDriver
from fixtures.this_machine import ThisMachine
from matrix.places import runtime_dir

_USER_NETWORK = json.dumps({"type": "user", "id": "hostnet0"})
_POLL = 0.02


def command_line(host: Host, xml: str, monitor: Path) -> list[str]:
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


@contextmanager
def running(command: list[str], *descriptors: int) -> Iterator[None]:
    """A QEMU that lives as long as the block; `descriptors` stay open in it."""
    qemu = subprocess.Popen(command, pass_fds=descriptors, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield
    finally:
        qemu.kill()
        qemu.communicate()


def continue_when_loaded(monitor: Path) -> None:
    """Wait until the state is in, then let the vCPUs run; QEMU tells nobody of it who has not asked for migration events."""
    with _monitor(monitor) as line:
        while _ask(line, "query-status")["status"] == "inmigrate":
            time.sleep(_POLL)
        _ask(line, "cont")


def raw_boot(guests: Sequence[Guest], deadline: Deadline) -> list[float]:
    """Boot what `guests` (not started, on this machine) define, all at once; seconds from power-on to each login prompt.

    Somebody sits at their consoles, as in the harness. Raises GuestPanicked, TimeoutError.
    """
    with ExitStack() as stack:
        begun = time.monotonic()
        booting = [_boot(guest, stack) for guest in guests]
        while not all("login" in console.milestones for console, _ in booting):
            if deadline.expired:
                raise TimeoutError(f"no login prompt from a QEMU started by hand in {deadline.span:.0f} s")
            for console, answers in booting:
                console.check()
                answers.hold()
            # A console's file tells nobody that it has grown, so it is read again.
            time.sleep(_POLL)
    return [console.milestones["login"].seen - begun for console, _ in booting]


def plumbing_in(scratch: Path, definition: Definition, disk: Path, host: Host) -> Plumbing:
    """A guest on this machine, as `host` runs them, whose root disk is `disk`, and all of whose sockets are in `scratch`."""
    return Plumbing(
        name=f"bench-{scratch.name}",
        uuid=str(uuid.uuid4()),
        folder=scratch,
        disks={definition.root_disk.name: disk},
        console_log=scratch / "console.log",
        console_socket=scratch / "console",
        agent_socket=scratch / "agent",
        ports={name: scratch / name for name in (SHELL_PORT, ERRORS_PORT)},
        emulator=host.connection.emulator,
    )


def _boot(guest: Guest, stack: ExitStack) -> tuple[ConsoleWatcher, ConsoleAnswers]:
    """Start it; returns what reads its console, and what answers there."""
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="b", dir=runtime_dir())))
    definition, image = guest.definition, guest.image
    plumbing = plumbing_in(scratch, definition, scratch / "root.qcow2", guest.host)
    plumbing = replace(plumbing, kernel=image.kernel, initrd=image.initrd)
    sockets = PortSockets(plumbing.ports[SHELL_PORT], plumbing.ports[ERRORS_PORT])
    stack.enter_context(closing(sockets))
    ThisMachine().create_overlay(
        plumbing.disks[definition.root_disk.name], image.disk, image.format, definition.root_disk.size_bytes
    )
    command = command_line(guest.host, QemuDriver().domain_xml(definition, plumbing), scratch / "monitor")
    stack.enter_context(running([word for word in command if word != "-S"]))
    console = ConsoleWatcher(plumbing.console_log)
    answers = stack.enter_context(closing(ConsoleAnswers(lambda: console_socket(scratch / "console"))))
    stack.enter_context(console.heard_by(answers.hear))
    return console, answers


@contextmanager
def _monitor(path: Path) -> Iterator[Any]:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(path))
        with raw.makefile("rwb") as line:
            json.loads(line.readline())
            _ask(line, "qmp_capabilities")
            yield line


def _ask(line: Any, command: str) -> Any:
    line.write(json.dumps({"execute": command}).encode() + b"\n")
    line.flush()
    while "return" not in (answer := json.loads(line.readline())):
        if "error" in answer:
            raise RuntimeError(f"QMP {command}: {answer['error']['desc']}")
    return answer["return"]
