"""Look into a disk without booting or mounting it: partitions, and what a Linux on an ext4 file system says of itself.

No privilege and no loop device is needed: `sfdisk` reads the partition table and `debugfs` files of ext2/3/4, on a plain
file. Other file systems are recognised by their signatures, and what is in them stays unknown.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from images.command import run
from images.disk import to_raw
from images.examine import DiskFacts, examine, refuse_expansion
from images.faults import ImageFault
from images.model import Compression, DiskFormat
from images.oci import MAGIC
from images.progress import Reporter
from images.unpack import unpack

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0x438, b"\x53\xef", "ext4"),
    (0, b"XFSB", "xfs"),
    (0x10040, b"_BHRfS_M", "btrfs"),
    (0x52, b"FAT32", "vfat"),
    (0x36, b"FAT16", "vfat"),
    (0x36, b"FAT12", "vfat"),
    (3, b"NTFS", "ntfs"),
    (0x218, b"LVM2 001", "lvm"),
    (0, b"LUKS\xba\xbe", "luks"),
    (4086, b"SWAPSPACE2", "swap"),
    (66908, b"\x19\x01\x54\x19", "ufs"),
    (0, b"hsqs", "squashfs"),
)
"""Offset in a partition, what stands there, and whose it is (blkid(8) looks at the same)."""

_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"  # where GRUB puts itself on a GPT disk
_ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"  # UEFI specification 2.10, table 5.7
_ESP_MBR = "ef"
_GPT = b"EFI PART"  # UEFI specification 2.10, table 5.5: in the second sector
_ISO_OFFSET = 0x8001  # ECMA-119, 8.1: the 16th sector of 2048 bytes
_UNPACKED = 64 * 1024**3
_SMALL = 64 * 1024
_KERNEL = re.compile(r"(?:vmlinuz|vmlinux|bzImage)[A-Za-z0-9_.+~-]*")
_OS_RELEASE = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)

Init = Literal["systemd", "openrc", "sysvinit", "busybox", "other"]


@dataclass(frozen=True)
class Partition:
    """A partition, or a whole disk without a table (number 0); `start` and `size` in bytes."""

    number: int
    start: int
    size: int
    type: str
    filesystem: str | None


@dataclass(frozen=True)
class System:
    """What a root file system says of itself."""

    partition: Partition
    label: str
    uuid: str
    os_release: dict[str, str]
    kernels: tuple[str, ...]
    init: Init
    package_manager: Literal["dpkg", "rpm", "apk", "pacman", "portage", "opkg"] | None
    cloud_init: bool
    agent: bool
    ssh_server: bool


@dataclass(frozen=True)
class Findings:
    """What was seen from outside. `system` is None where nothing could be looked into; `unknown` says why."""

    format: DiskFormat
    compression: Compression
    facts: DiskFacts
    table: str
    partitions: tuple[Partition, ...]
    boots: tuple[Literal["bios", "uefi"], ...]
    system: System | None
    unknown: tuple[str, ...] = field(default=())


def inspect(file: Path, work: Path, report: Reporter) -> Findings:
    """Look into the disk image `file`, in any form; a sparse raw copy of it is made in the empty folder `work` for that.

    Raises ImageFault if it is refused, as any image, or is no disk; OSError.
    """
    disk, compression = file, _compression(file)
    if compression != "none":
        disk = work / "unpacked"
        with report.task(f"{file.name}: unpacking {compression}") as task:
            try:
                unpack(file, compression, disk, _UNPACKED, task)
            except ImageFault as fault:
                raise ImageFault(f"{file}: {fault}") from fault
    image_format = _format(disk)
    if image_format == "raw" and (other := _no_disk(disk)):
        raise ImageFault(f"{file}: is {other}")
    facts = examine(disk, image_format)
    refuse_expansion(disk, image_format, work, _UNPACKED)
    raw = work / "disk.raw"
    with report.task(f"{file.name}: looking into it"):
        to_raw(disk, raw, image_format)
        if _holds(raw, 4096, _GPT):
            raise ImageFault(
                f"{file}: is partitioned for disks with sectors of 4096 bytes; those of guests here have 512"
            )
        return _look(file, raw, image_format, compression, facts)


def _look(file: Path, raw: Path, image_format: DiskFormat, compression: Compression, facts: DiskFacts) -> Findings:
    table, partitions = _partitions(raw, facts.virtual_size)
    boots = _boots(raw, partitions)
    if table == "none" and not boots and all(each.filesystem is None for each in partitions):
        raise ImageFault(f"{file}: is no disk that is known here: it has neither a partition table nor a file system")
    unknown: list[str] = []
    systems: list[System] = []
    kernels_elsewhere: list[str] = []
    for partition in partitions:
        if partition.filesystem == "ext4":
            files = _Files(raw, partition)
            found = _system(files)
            if found is not None:
                systems.append(found)
            else:
                kernels_elsewhere += files.kernels("/")
        elif partition.filesystem not in {"vfat", "swap", None}:
            unknown.append(f"cannot look inside partition {partition.number}: it is {partition.filesystem}")
    # A rescue system may stand before the one that says what it is.
    system = next((each for each in systems if each.os_release), systems[0] if systems else None)
    if system is None:
        unknown.append("no root file system was found that can be read here; fill in what the guest's file leaves open")
    elif not system.kernels:
        system = replace(system, kernels=tuple(kernels_elsewhere))
    return Findings(image_format, compression, facts, table, partitions, boots, system, tuple(unknown))


def _no_disk(file: Path) -> str | None:
    """What `file` is instead of a disk, and what is to be done with it."""
    if _holds(file, 257, b"ustar"):
        with file.open("rb") as opened:
            first = opened.read(100)
        if b".ovf" in first.lower():
            return "an OVA, a tar of disks: unpack it, and import the disk in it"
        return "a tar: a root file system or container image is of kind rootfs, see docs/guests.md"
    if _holds(file, _ISO_OFFSET, b"CD001"):
        return "an image of a CD: an installer's is of kind install, see docs/guests.md"
    if _holds(file, 0, b"QED\0"):
        return "a QED disk: convert it to qcow2 with qemu-img"
    return None


def _compression(file: Path) -> Compression:
    with file.open("rb") as opened:
        head = opened.read(8)
    if head.startswith(b"PK\3\4"):
        return "zip"
    return next((name for magic, name in MAGIC if head.startswith(magic)), "none")


def _format(disk: Path) -> DiskFormat:
    """What the first and last bytes say; anything else is a raw disk."""
    with disk.open("rb") as opened:
        head = opened.read(512)
        opened.seek(max(0, disk.stat().st_size - 512))
        foot = opened.read(512)
    formats: tuple[tuple[bool, DiskFormat], ...] = (
        (head[:4] == b"QFI\xfb", "qcow2"),
        (head[:4] == b"KDMV" or head.startswith(b"# Disk DescriptorFile"), "vmdk"),
        (head[:8] == b"vhdxfile", "vhdx"),
        (head[64:68] == b"\x7f\x10\xda\xbe", "vdi"),
        (b"conectix" in {head[:8], foot[:8]}, "vpc"),
    )
    return next((name for fits, name in formats if fits), "raw")


def _partitions(raw: Path, size: int) -> tuple[str, tuple[Partition, ...]]:
    """Kind of table and its partitions; a disk without a table is one partition, number 0.

    A table is believed before a file system: mkfs leaves the place of a table alone, and partitioning the places where a
    file system had its mark.
    """
    try:
        table = json.loads(run(["sfdisk", "--json", "--", str(raw)]))["partitiontable"]
    except ImageFault:
        table = {}
    sector, found = int(table.get("sectorsize", 512)), []
    for each in table.get("partitions", []):
        start, length = int(each["start"]) * sector, int(each["size"]) * sector
        if not 0 < start < start + length <= size:
            break  # boot code that looks like a table
        found.append(Partition(_number(str(each["node"])), start, length, str(each["type"]), _filesystem(raw, start)))
    else:
        if found:
            return str(table["label"]), tuple(found)
    return "none", (Partition(0, 0, size, "", _filesystem(raw, 0)),)


def _number(node: str) -> int:
    """That of a partition whose device would be called `node`."""
    return int(node[len(node.rstrip("0123456789")) :])


def _filesystem(raw: Path, start: int) -> str | None:
    return next((name for offset, magic, name in _SIGNATURES if _holds(raw, start + offset, magic)), None)


def _holds(file: Path, offset: int, magic: bytes) -> bool:
    with file.open("rb") as opened:
        opened.seek(offset)
        return opened.read(len(magic)) == magic


def _boots(raw: Path, partitions: tuple[Partition, ...]) -> tuple[Literal["bios", "uefi"], ...]:
    """The firmwares that find something to start: boot code in the first sector, and a loader on an EFI partition."""
    with raw.open("rb") as file:
        first = file.read(512)
    code = first[:440]
    # BIOS boot code that is more than the message of a protective table, or a place for GRUB's second part.
    bios = (
        first[510:] == b"\x55\xaa"
        and any(code)
        and (len(partitions) == 1 or any(code[256:]) or any(each.type == _BIOS_BOOT for each in partitions))
    )
    uefi = False
    for each in partitions:
        if each.type.upper() == _ESP or each.type == _ESP_MBR:
            try:
                uefi |= "BOOTX64" in run(["mdir", "-b", "-i", f"{raw}@@{each.start}", "::/EFI/BOOT"]).upper()
            except ImageFault:
                continue
    return (*(("bios",) if bios else ()), *(("uefi",) if uefi else ()))


class _Files:
    """Files of an ext2/3/4 file system in a raw disk; paths are absolute and without blanks."""

    def __init__(self, raw: Path, partition: Partition) -> None:
        self.partition = partition
        self._raw = raw

    def ask(self, request: str) -> str:
        """What debugfs(8) answers; nothing where it complains."""
        try:
            return run(
                ["debugfs", "-R", request, f"{self._raw.name}?offset={self.partition.start}"], cwd=self._raw.parent
            )
        except ImageFault:
            return ""

    def exists(self, *paths: str) -> bool:
        """Whether one of `paths` is there; the last part may be a link to anywhere."""
        return any("Inode: " in self.ask(f"stat {path}") for path in paths)

    def read(self, path: str) -> str:
        """A small regular file, else nothing."""
        told = self.ask(f"stat {path}")
        size = re.search(r"Size: (\d+)", told)
        if "Type: regular" not in told or size is None or int(size[1]) > _SMALL:
            return ""
        return self.ask(f"cat {path}")

    def link(self, path: str) -> str:
        """Where a symbolic link leads, nothing where it is none."""
        found = re.search(r'(?:Fast link dest: |link dest: )"([^"\n]*)"', self.ask(f"stat {path}"))
        return found[1] if found else ""

    def kernels(self, folder: str) -> list[str]:
        """Names of kernel images in a folder."""
        names = [line.split("/")[5] for line in self.ask(f"ls -p {folder}").splitlines() if line.count("/") >= 6]
        return sorted(name for name in names if _KERNEL.fullmatch(name))

    def superblock(self, name: str) -> str:
        """A field of the superblock, such as its volume name."""
        found = re.search(rf"^{re.escape(name)}:\s*(\S+)", self.ask("show_super_stats -h"), re.MULTILINE)
        return "" if found is None or found[1] in {"<none>", "<not"} else found[1]


def _system(files: _Files) -> System | None:
    release = files.read("/etc/os-release") or files.read("/usr/lib/os-release")
    if not release and not files.exists("/sbin/init", "/usr/sbin/init", "/etc/fstab"):
        return None
    fields = {}
    for name, value in _OS_RELEASE.findall(release):
        try:
            fields[name] = " ".join(shlex.split(value))
        except ValueError:
            continue
    return System(
        partition=files.partition,
        label=files.superblock("Filesystem volume name"),
        uuid=files.superblock("Filesystem UUID"),
        os_release=fields,
        kernels=tuple(files.kernels("/boot")),
        init=_init(files),
        package_manager=_package_manager(files),
        cloud_init=files.exists("/usr/bin/cloud-init", "/etc/cloud/cloud.cfg"),
        agent=files.exists("/usr/bin/qemu-ga", "/usr/sbin/qemu-ga"),
        ssh_server=files.exists("/usr/sbin/sshd", "/usr/bin/sshd", "/usr/sbin/dropbear"),
    )


def _init(files: _Files) -> Init:
    if files.exists("/usr/lib/systemd/systemd", "/lib/systemd/systemd"):
        return "systemd"
    if files.exists("/sbin/openrc", "/usr/sbin/openrc"):
        return "openrc"
    if "busybox" in files.link("/sbin/init") or "busybox" in files.link("/usr/sbin/init"):
        return "busybox"
    return "sysvinit" if files.exists("/etc/inittab") else "other"


def _package_manager(files: _Files) -> Literal["dpkg", "rpm", "apk", "pacman", "portage", "opkg"] | None:
    places: tuple[tuple[str, Literal["dpkg", "rpm", "apk", "pacman", "portage", "opkg"]], ...] = (
        ("/var/lib/dpkg/status", "dpkg"),
        ("/var/lib/rpm", "rpm"),
        ("/usr/lib/sysimage/rpm", "rpm"),
        ("/lib/apk/db/installed", "apk"),
        ("/usr/lib/apk/db/installed", "apk"),
        ("/var/lib/pacman/local", "pacman"),
        ("/var/db/pkg", "portage"),
        ("/usr/lib/opkg/status", "opkg"),
    )
    return next((name for path, name in places if files.exists(path)), None)
