"""Texts of /proc, parsed. Linux documents them in Documentation/filesystems/proc.rst."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network


def parse_meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo: KiB by name ("MemTotal"); lines without a unit (counts of pages) as they are."""
    return {match[1]: int(match[2]) for match in re.finditer(r"^([^\s:]+):\s+(\d+)", text, re.MULTILINE)}


def parse_cpu_list(text: str) -> frozenset[int]:
    """A list of CPUs such as "0-3,8" (/sys/devices/system/cpu/online). Raises ValueError on anything else."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if not part:
            continue
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


# File systems of which nothing is left after a reboot.
_VOLATILE = frozenset({"rootfs", "tmpfs", "ramfs", "devtmpfs", "overlay", "squashfs", "iso9660", "erofs"})


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/mounts."""

    source: str
    target: str
    filesystem: str
    options: frozenset[str]


def parse_mounts(text: str) -> list[Mount]:
    """/proc/mounts in its order: a later mount hides an earlier one of the same target."""
    mounts = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4:
            source, target = (_unescape(field) for field in fields[:2])
            mounts.append(Mount(source, target, fields[2], frozenset(fields[3].split(","))))
    return mounts


def mount_of(mounts: list[Mount], target: str) -> Mount | None:
    """The mount that is seen at exactly `target`, None where nothing is mounted there."""
    return next((mount for mount in reversed(mounts) if mount.target == target), None)


def mount_holding(mounts: list[Mount], path: str) -> Mount | None:
    """The mount that `path` (absolute) lies on: the longest target that leads to it, the latest of equals."""
    holders = [mount for mount in mounts if (path + "/").startswith(mount.target.rstrip("/") + "/")]
    return max(enumerate(holders), key=lambda item: (len(item[1].target), item[0]), default=(0, None))[1]


def lives_on_disk(mount: Mount | None) -> bool:
    """Whether what is written to `mount` is on a disk afterwards."""
    return mount is not None and mount.filesystem not in _VOLATILE


@dataclass(frozen=True, slots=True)
class Route:
    """A line of /proc/net/route; `gateway` is None for a directly connected network."""

    interface: str
    network: IPv4Network
    gateway: IPv4Address | None

    @property
    def is_default(self) -> bool:
        """Whether it takes everything that no other route takes."""
        return self.network.prefixlen == 0


def parse_routes(text: str) -> list[Route]:
    """/proc/net/route: addresses are 32-bit words in host byte order, printed in hexadecimal (little endian on x86)."""
    routes = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or not int(fields[3], 16) & 0x1:  # RTF_UP
            continue
        network, gateway, mask = (_little_endian(fields[column]) for column in (1, 2, 7))
        routes.append(
            Route(
                fields[0], IPv4Network(f"{network}/{mask}"), gateway if int(fields[3], 16) & 0x2 else None
            )  # RTF_GATEWAY
        )
    return routes


def parse_local_addresses(text: str) -> frozenset[IPv4Address]:
    """/proc/net/fib_trie: every address of this host itself, loopback included. Needs no tool and no privilege."""
    addresses = set()
    last = None
    for line in text.splitlines():
        leaf = re.match(r"\s*\|--\s+(\S+)", line)
        if leaf:
            last = leaf[1]
        elif last and re.match(r"\s*/32 host LOCAL", line):
            addresses.add(IPv4Address(last))
    return frozenset(addresses)


def _little_endian(word: str) -> IPv4Address:
    return IPv4Address(int.from_bytes(bytes.fromhex(word), "little"))


def _unescape(field: str) -> str:
    # The kernel escapes white space and backslash in paths as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
