"""Judges a kernel log: what in it says that kernel, firmware or devices are not well."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from matrix.model import KernelLogException
from suites.bounds import Bounds, load_bounds


class FindingPattern(Bounds):
    """One kind of bad message."""

    name: str
    pattern: str


class KernelLogBounds(Bounds):
    """`kernel_log.yaml`: what must not be logged, and what each taint bit means."""

    findings: tuple[FindingPattern, ...] = Field(min_length=1)
    taints: dict[int, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """A message that should not be there."""

    kind: str
    line: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.line}"


# "<4>", "[    1.234567]", "[    1.234567][    T1]" and what syslog puts before a message.
_PREFIX = re.compile(r"^(?:<\d+>)?(?:\[[ \d]+\.\d+\]\s?)?(?:\[\s*[TC]\d+\]\s?)?")


def message_of(line: str) -> str:
    """A line of dmesg without priority, time stamp and caller; leading spaces are kept off."""
    return _PREFIX.sub("", line, count=1).lstrip()


def shipped_bounds() -> KernelLogBounds:
    """The bounds beside this module."""
    return load_bounds(Path(__file__).with_name("kernel_log.yaml"), KernelLogBounds)


def judge_kernel_log(log: str, exceptions: Iterable[KernelLogException], bounds: KernelLogBounds) -> list[Finding]:
    """The bad messages of `log` that no exception covers, in their order; the first kind that matches names one."""
    excused = [re.compile(exception.pattern) for exception in exceptions]
    kinds = [(finding.name, re.compile(finding.pattern)) for finding in bounds.findings]
    findings = []
    for line in log.splitlines():
        message = message_of(line)
        kind = next((name for name, pattern in kinds if pattern.search(message)), None)
        if kind and not any(pattern.search(line) for pattern in excused):
            findings.append(Finding(kind, line.strip()))
    return findings


def judge_taint(tainted: str, exceptions: Iterable[KernelLogException], bounds: KernelLogBounds) -> list[Finding]:
    """A finding for each bit of /proc/sys/kernel/tainted; an exception matches the text `taint N: meaning`."""
    excused = [re.compile(exception.pattern) for exception in exceptions]
    value = int(tainted.strip() or "0")
    lines = [
        f"taint {bit}: {bounds.taints.get(bit, 'unknown')}" for bit in range(value.bit_length()) if value >> bit & 1
    ]
    return [Finding("kernel tainted", line) for line in lines if not any(pattern.search(line) for pattern in excused)]


def begins_at_boot(log: str) -> bool:
    """Whether the ring buffer still holds the boot's first messages, so that nothing fell out of it."""
    return any("Linux version " in line for line in log.splitlines()[:50])


# Messages of a file system that was not left cleanly: fs/ext4/super.c and e2fsprogs, fs/xfs/xfs_log_recover.c,
# fs/btrfs/tree-log.c, fs/fat/inode.c, fs/f2fs/recovery.c.
_UNCLEAN = re.compile(
    r"recovery complete|recovering journal|recovery required|Starting recovery|Ending recovery|orphan cleanup"
    r"|orphan inodes? deleted|start tree-log replay|not properly unmounted|was not cleanly unmounted"
    r"|Cannot recover all fsync data|UNEXPECTED INCONSISTENCY"
)


def unclean_file_systems(log: str) -> list[str]:
    """Lines of kernel or fsck logs which say that a file system had not been unmounted before this boot."""
    return [line.strip() for line in log.splitlines() if _UNCLEAN.search(line)]
