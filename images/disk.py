"""From a root file system archive to a bootable GPT disk, on plain files: no loop device, no mount.

    LBA 2048           EFI system partition, FAT32 (written by mtools); a BIOS starts from it too (images.bios_loader)
    LBA 2048 + ESP     root partition, ext4 labelled "root" (written by mke2fs -d)

Ids are derived from the image's key, so the same recipe with the same keys names its partitions the same way.
"""

from __future__ import annotations

import os
import re
import tarfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from images import bios_loader
from images.command import run
from images.faults import ImageFault
from images.model import DiskLayout
from images.workspace import remove_tree

_SECTOR = 512
_MIB = 1024 * 1024
_ALIGNMENT = _MIB
_ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"  # UEFI specification 2.10, table 5.7
_ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"  # root (x86-64), UAPI discoverable partitions specification

# The features that Linux 5.10 and GRUB 2.06 read, whatever the defaults of the host's mke2fs are.
_MKE2FS_CONF = """\
[defaults]
    base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
    blocksize = 4096
    inode_size = 256
    inode_ratio = 16384
[fs_types]
    ext4 = {
        features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
    }
"""

# debugfs splits its requests at blanks; no file with capabilities has one in its name.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9@_.+/-]+")

_NAMESPACE = uuid.UUID("5f1a7f0e-6f0c-4a53-9b0b-0d1f2c8f6b11")


@dataclass(frozen=True)
class DiskIds:
    """Identifiers on a disk, lower-case, as the kernel and blkid print them."""

    disk: str
    esp: str
    root: str
    root_filesystem: str
    fat_serial: str

    @staticmethod
    def of(key: str) -> DiskIds:
        """The ids of the image with this `key` (any text)."""

        def derive(what: str) -> str:
            return str(uuid.uuid5(_NAMESPACE, f"{key}/{what}"))

        return DiskIds(derive("disk"), derive("esp"), derive("root"), derive("filesystem"), derive("fat")[:8])


def unpack(archive: Path, members: list[str], folder: Path) -> None:
    """Take single `members` (as named in the archive) out of it into `folder`."""
    run(
        [
            "tar",
            "--extract",
            "--file",
            str(archive),
            "--directory",
            str(folder),
            "--no-same-owner",
            "--no-same-permissions",
            "--",
            *members,
        ]
    )


@dataclass(frozen=True)
class RootContent:
    """What goes into the root partition: the tar `archive` without `dropped` (guest paths), with `late` over it."""

    archive: Path
    late: Path
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class _Extent:
    """A partition on the disk, in bytes."""

    start: int
    size: int

    def line(self) -> str:
        """Its place in sfdisk's script language."""
        return f"start={self.start // _SECTOR}, size={self.size // _SECTOR}"


def write_disk(
    path: Path, root: RootContent, esp_tree: Path, layout: DiskLayout, ids: DiskIds, *, bios: bool = False
) -> None:
    """Write the raw disk `path` (sparse). Works in `path`'s folder; as an ordinary user, fakeroot keeps ownership.

    With `bios` a legacy BIOS starts what `images.bios_loader` put into `esp_tree`.

    Raises ImageFault, and OSError when the disk is full.
    """
    size = layout.size_gib * 1024 * _MIB
    esp = _Extent(_ALIGNMENT, layout.esp_mib * _MIB)
    # The last MiB holds the backup partition table.
    rest = _Extent(esp.start + esp.size, size - esp.start - esp.size - _ALIGNMENT)
    with path.open("wb") as file:
        file.truncate(size)
    attributes = f", attrs={bios_loader.ATTRIBUTE}" if bios else ""
    table = (
        f"label: gpt\nlabel-id: {ids.disk}\nfirst-lba: 34\n"
        f"{esp.line()}, type={_ESP_TYPE}, uuid={ids.esp}, name=esp{attributes}\n"
        f"{rest.line()}, type={_ROOT_TYPE}, uuid={ids.root}, name=root\n"
    )
    run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(path)], stdin=table)
    _write_esp(path, esp, esp_tree, ids)
    if bios:
        bios_loader.install(path, esp.start)
    _write_root(path, rest, root, ids)


def _write_esp(disk: Path, extent: _Extent, tree: Path, ids: DiskIds) -> None:
    image = f"{disk}@@{extent.start}"
    # One-sector clusters make it FAT32 at any size we allow; the geometry is what firmware expects of a hard disk.
    shape = ["-F", "-c", "1", "-h", "255", "-s", "63", "-T", str(extent.size // _SECTOR)]
    run(["mformat", "-i", image, *shape, "-N", ids.fat_serial, "-v", "ESP", "::"])
    for folder, _, files in sorted(os.walk(tree)):
        inside = Path(folder).relative_to(tree)
        if inside != Path():
            run(["mmd", "-i", image, f"::/{inside}"])
        for name in sorted(files):
            run(["mcopy", "-i", image, str(Path(folder) / name), f"::/{inside / name}"])


def _write_root(disk: Path, extent: _Extent, content: RootContent, ids: DiskIds) -> None:
    work = disk.parent
    tree = work / "tree"
    tree.mkdir()
    configuration = work / "mke2fs.conf"
    configuration.write_text(_MKE2FS_CONF, encoding="ascii")
    # Device nodes are left out: the kernel's devtmpfs makes them, and an ordinary user cannot.
    excluded = [f"--exclude=./{path.lstrip('/')}" for path in ("/dev/*", *content.dropped)]
    tar = ["tar", "--extract", "--numeric-owner", "--same-owner", "--preserve-permissions", "--directory", str(tree)]
    as_root = os.geteuid() == 0
    attributes = ["--xattrs", "--xattrs-include=*"] if as_root else []
    steps = [
        [*tar, *attributes, "--anchored", *excluded, "--file", str(content.archive)],
        [*tar, "--no-overwrite-dir", "--file", str(content.late)],
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", ids.root_filesystem, "-m", "0"),
            *(
                "-E",
                f"offset={extent.start},hash_seed={ids.root_filesystem},root_owner=0:0,lazy_itable_init=0,nodiscard",
            ),
            *("-d", str(tree), str(disk), f"{extent.size // 1024}k"),
        ],
    ]
    # One ownership database for all steps, so that mke2fs sees what tar was told.
    state = work / "fakeroot"
    state.touch()
    fakeroot = [] if as_root else ["fakeroot", "-i", str(state), "-s", str(state), "--"]
    for step in steps:
        run([*fakeroot, *step], environment={"MKE2FS_CONFIG": str(configuration)})
    if not as_root:
        _write_capabilities(disk, extent, content.archive, work)
    remove_tree(tree)


def _write_capabilities(disk: Path, extent: _Extent, archive: Path, work: Path) -> None:
    """Give files their capabilities (capabilities(7)) in the finished file system, which fakeroot cannot."""
    value = work / "capability"
    with tarfile.open(archive) as tar:
        for member in tar:
            attribute = member.pax_headers.get("SCHILY.xattr.security.capability")
            if attribute is not None and _PLAIN_PATH.fullmatch(member.name):
                value.write_bytes(attribute.encode("utf-8", "surrogateescape"))
                request = f"ea_set -f {value.name} /{member.name.removeprefix('./')} security.capability"
                run(["debugfs", "-w", "-R", request, f"{disk.name}?offset={extent.start}"], cwd=work)


def to_qcow2(source: Path, path: Path, source_format: str = "raw") -> None:
    """Convert an examined disk to a sparse qcow2 (compat 1.1). Raises ImageFault."""
    run(
        [
            "qemu-img",
            "convert",
            "-q",
            "-f",
            source_format,
            "-O",
            "qcow2",
            "-o",
            "compat=1.1,lazy_refcounts=off",
            str(source),
            str(path),
        ]
    )
    if path.stat().st_size == 0:
        raise ImageFault(f"{path}: qemu-img wrote an empty file")


def empty_disk(path: Path, size_gib: int) -> None:
    """Write a qcow2 disk with nothing on it. Raises ImageFault."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "--", str(path), f"{size_gib}G"])


def to_raw(source: Path, path: Path, source_format: str) -> None:
    """Convert an examined disk to a sparse raw one. Raises ImageFault."""
    run(["qemu-img", "convert", "-q", "-U", "-f", source_format, "-O", "raw", "--", str(source), str(path)])
