"""Initramfs archives as the kernel reads them: every entry where it belongs, modules after what they need."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from images import ImageFault
from images.initramfs import write_minimal, write_root_finder
from images.kernel_parts import KernelParts

FOLDER = "usr/lib/modules/6.1.0-1"
FILES = {
    "usr/bin/busybox": b"\x7fELF busybox",
    "boot/vmlinuz-6.1.0-1": b"kernel",
    f"{FOLDER}/modules.dep": (
        b"kernel/virtio_blk.ko: kernel/virtio.ko kernel/virtio_ring.ko\n"
        b"kernel/virtio.ko: kernel/virtio_ring.ko\nkernel/virtio_ring.ko:\n"
        b"kernel/virtio-rng.ko.xz: kernel/virtio.ko kernel/virtio_ring.ko\n"
    ),
    f"{FOLDER}/modules.builtin": b"kernel/fs/ext4/ext4.ko\n",
    f"{FOLDER}/kernel/virtio_blk.ko": b"blk",
    f"{FOLDER}/kernel/virtio.ko": b"virtio",
    f"{FOLDER}/kernel/virtio_ring.ko": b"ring",
    f"{FOLDER}/kernel/virtio-rng.ko.xz": b"rng",
}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[KernelParts]:
    """Packages of a very small kernel."""
    with tarfile.open(tmp_path / "parts.tar", "w") as tar:
        folder = tarfile.TarInfo(f"./{FOLDER}")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in FILES.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with tarfile.open(tmp_path / "parts.tar") as tar:
        yield KernelParts(tar, {member.name.removeprefix("./"): member for member in tar}, "6.1.0-1")


@dataclass
class Entry:
    mode: int
    device: tuple[int, int]
    data: bytes


def entries(path: Path) -> dict[str, Entry]:
    """A newc archive, read as its description says and not as it was written."""
    raw, at = path.read_bytes(), 0
    found: dict[str, Entry] = {}
    while True:
        assert raw[at : at + 6] == b"070701"
        fields = [int(raw[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        size, length = fields[6], fields[11]
        name = raw[at + 110 : at + 109 + length].decode()
        start = (at + 110 + length + 3) // 4 * 4
        at = (start + size + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert at == len(raw)
            return found
        assert name not in found
        found[name] = Entry(fields[1], (fields[9], fields[10]), raw[start : start + size])


def test_the_minimal_system_has_what_its_init_starts(parts: KernelParts, tmp_path: Path) -> None:
    write_minimal(tmp_path / "initrd", parts, ["virtio_blk", "virtio-rng", "ext4"], "tiny")
    found = entries(tmp_path / "initrd")
    assert found["bin/busybox"].data == FILES["usr/bin/busybox"]
    assert found["dev/console"].device == (5, 1)
    assert stat.S_ISLNK(found["init"].mode)
    assert found["etc/hostname"].data == b"tiny\n"
    for line in found["etc/inittab"].data.decode().splitlines():
        program = line.rpartition(":")[2].split()[0].removeprefix("/")
        # What is not a file here is one of busybox's own names, which `rc` makes links for.
        assert program in found or program.startswith(("sbin/reboot", "bin/umount"))
        assert program not in found or found[program].mode & 0o111
    for name in found:
        parent = name.rpartition("/")[0]
        assert not parent or stat.S_ISDIR(found[parent].mode)
        assert not parent or list(found).index(parent) < list(found).index(name)


def test_modules_come_after_what_they_need_and_once(parts: KernelParts, tmp_path: Path) -> None:
    write_root_finder(tmp_path / "initrd", parts, ["virtio-rng", "virtio_blk", "ext4"])
    found = entries(tmp_path / "initrd")
    order = found["modules/order"].data.decode().split()
    assert order == [
        f"/modules/{name}" for name in ("virtio_ring.ko", "virtio.ko", "virtio-rng.ko.xz", "virtio_blk.ko")
    ]
    assert all(each.removeprefix("/") in found for each in order)
    assert found["init"].data.startswith(b"#!/bin/busybox sh\n")
    assert found["init"].mode & 0o111


def test_a_module_that_the_kernel_does_not_have_is_named(parts: KernelParts, tmp_path: Path) -> None:
    assert parts.has_module("ext4")
    assert not parts.has_module("floppy")
    with pytest.raises(ImageFault, match="has no module floppy"):
        write_root_finder(tmp_path / "initrd", parts, ["floppy"])


def test_the_same_parts_give_the_same_bytes(parts: KernelParts, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_minimal(tmp_path / name, parts, ["virtio_blk"], "tiny")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
