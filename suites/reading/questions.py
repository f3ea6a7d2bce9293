"""What probes ask a guest, and in which words: one row a family of operating systems.

Linux is asked for more than that, by the probes themselves; what has no row here is asked of Linux only (`requires("linux")`).
Nothing but Linux's row has been run here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

import pytest

from fixtures.faults import CommandFailed
from fixtures.guest import Guest
from matrix.model import Family
from suites.reading.batch import files_snippet, parse_files
from suites.reading.bsd import parse_geom_disks, parse_ifconfig
from suites.reading.os_release import parse_os_release
from suites.reading.procfs import parse_cpu_list, parse_meminfo
from suites.reading.sysfs import (
    BLOCK_FILES,
    NIC_FILES,
    SCSI_SERIALS,
    BlockDevice,
    NetworkInterface,
    devices_snippet,
    parse_block_devices,
    parse_interfaces,
)
from suites.reading.windows import DISKS, INTERFACES, parse_windows_disks, parse_windows_interfaces

Answer = TypeVar("Answer")

_BETWEEN = "--guestcert--"
"""Between what a script prints of one kind and the next; no file below /sys has such a line."""


@dataclass(frozen=True, slots=True)
class Question(Generic[Answer]):
    """A text for the family's shell, and what its standard output says. `parse` raises ValueError."""

    script: str
    parse: Callable[[str], Answer]


@dataclass(frozen=True, slots=True)
class Questions:
    """One family: how many processors are online, how much memory there is (KiB), what the system says it is (fields as in
    os-release(5)), its network cards and its disks; `speak` has the kernel, or what stands for it, say {line} on the console.
    None: guestcert knows no way."""

    vcpus: Question[int]
    memory_kib: Question[int]
    identity: Question[dict[str, str]]
    speak: str | None = None
    cards: Question[list[NetworkInterface]] | None = None
    disks: Question[list[BlockDevice]] | None = None


def ask(guest: Guest, name: str, question: Question[Answer] | None) -> tuple[Answer, str]:
    """The answer, and the text that it was read from. `name` says what is asked, for messages.

    Skips the probe where there is no way to ask. Raises CommandFailed when the guest's answer cannot be understood.
    """
    if question is None:
        pytest.skip(f"guestcert knows no way to ask {guest.spec.family} for {name}")
    text = guest.check(guest.family.script(question.script)).replace("\r\n", "\n")
    try:
        return question.parse(text), text
    except (ValueError, KeyError, IndexError) as error:
        raise CommandFailed(f"asked for {name}, the guest says {text.strip()[:300]!r}: {error}") from error


def questions_for(guest: Guest) -> Questions:
    """The row of the guest's family."""
    return QUESTIONS[guest.spec.family]


def _kib_of_bytes(text: str) -> int:
    return int(text) // 1024


def _mem_total(text: str) -> int:
    return parse_meminfo(text)["MemTotal"]


def _online(text: str) -> int:
    return len(parse_cpu_list(text))


def _sections(*snippets: str) -> str:
    return f"\necho {_BETWEEN}\n".join(snippets)


def _linux_cards(text: str) -> list[NetworkInterface]:
    files, drivers = text.split(f"{_BETWEEN}\n")
    return parse_interfaces(parse_files(files, *NIC_FILES), drivers)


def _linux_disks(text: str) -> list[BlockDevice]:
    files, drivers, scsi = text.split(f"{_BETWEEN}\n")
    return parse_block_devices(parse_files(files, *BLOCK_FILES), drivers, scsi)


# os-release(5) is on every Linux and in FreeBSD; the other BSDs have what uname says.
_OS_RELEASE = "cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release"
_OS_RELEASE_OR_UNAME = (
    "cat /etc/os-release 2>/dev/null || "
    "printf 'ID=%s\\nVERSION_ID=%s\\n' \"$(uname -s | tr '[:upper:]' '[:lower:]')\" \"$(uname -r)\""
)
_ON_CONSOLE = "echo '{line}' >/dev/console"
_SAYS = Question(_OS_RELEASE_OR_UNAME, parse_os_release)

QUESTIONS: Mapping[Family, Questions] = MappingProxyType(
    {
        "linux": Questions(
            vcpus=Question("cat /sys/devices/system/cpu/online", _online),
            memory_kib=Question("cat /proc/meminfo", _mem_total),
            identity=Question(_OS_RELEASE, parse_os_release),
            # Level 1 (alert) gets through `quiet`; level 0 would have journald write to every terminal.
            speak="echo '<1>{line}' >/dev/kmsg",
            cards=Question(_sections(files_snippet(*NIC_FILES[:2]), devices_snippet("class/net")), _linux_cards),
            disks=Question(
                _sections(files_snippet(*BLOCK_FILES), devices_snippet("block"), SCSI_SERIALS), _linux_disks
            ),
        ),
        "freebsd": Questions(
            vcpus=Question("sysctl -n hw.ncpu", int),
            memory_kib=Question("sysctl -n hw.physmem", _kib_of_bytes),
            identity=_SAYS,
            speak=_ON_CONSOLE,
            cards=Question("ifconfig -a", parse_ifconfig),
            disks=Question("geom disk list", parse_geom_disks),
        ),
        "netbsd": Questions(
            vcpus=Question("sysctl -n hw.ncpuonline", int),
            memory_kib=Question("sysctl -n hw.physmem64", _kib_of_bytes),
            identity=_SAYS,
            speak=_ON_CONSOLE,
            cards=Question("ifconfig -a", parse_ifconfig),
        ),
        "openbsd": Questions(
            vcpus=Question("sysctl -n hw.ncpuonline", int),
            memory_kib=Question("sysctl -n hw.physmem", _kib_of_bytes),
            identity=_SAYS,
            speak=_ON_CONSOLE,
            cards=Question("ifconfig -a", parse_ifconfig),
        ),
        "windows": Questions(
            vcpus=Question("[Environment]::ProcessorCount", int),
            memory_kib=Question("(Get-CimInstance Win32_OperatingSystem).TotalVisibleMemorySize", int),
            identity=Question(
                "$o=Get-CimInstance Win32_OperatingSystem; 'ID=windows'; 'VERSION_ID=' + $o.Version; 'NAME=\"' + $o.Caption + '\"'",
                parse_os_release,
            ),
            cards=Question(INTERFACES, parse_windows_interfaces),
            disks=Question(DISKS, parse_windows_disks),
        ),
        "other": Questions(
            vcpus=Question("getconf _NPROCESSORS_ONLN", int),
            memory_kib=Question("cat /proc/meminfo", _mem_total),
            identity=_SAYS,
            speak=_ON_CONSOLE,
        ),
    }
)
