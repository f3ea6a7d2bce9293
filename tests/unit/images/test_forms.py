"""The forms in which vendors publish disks: packed by real compressors, in formats written by qemu-img, and hostile."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from images import ImageFault, Store, examine, unpack
from images.examine import refuse_expansion
from images.progress import SilentReporter
from tests.unit.images.conftest import MakeEntry

MIB = 1024**2


def _zip(path: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def _zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lzma.compress,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": _zstd,
}


def pack(compression: str, data: bytes, path: Path) -> Path:
    """`data` as a packed file at `path`."""
    if compression == "zip":
        _zip(path, {"folder/": b"", "folder/disk.img": data})
    else:
        path.write_bytes(PACKERS[compression](data))
    return path


def unpacked(packed: Path, compression: str, limit: int = 64 * MIB) -> Path:
    target = packed.with_name("target")
    with SilentReporter().task("") as task:
        unpack.unpack(packed, compression, target, limit, task)  # type: ignore[arg-type]
    return target


def content_of(disk: Path, disk_format: str, scratch: Path) -> bytes:
    """What a guest would read from the disk."""
    raw = scratch / "content-of-a-disk"
    subprocess.run(["qemu-img", "convert", "-f", disk_format, "-O", "raw", disk, raw], check=True)
    return raw.read_bytes()


@pytest.mark.parametrize("compression", [*PACKERS, "zip"])
def test_a_packed_disk_is_unpacked_after_its_digest_was_checked(
    store: Store, cache: Path, disk: Path, entry_for: MakeEntry, compression: str
) -> None:
    packed = pack(compression, disk.read_bytes(), disk.with_name("packed"))
    image = store.obtain(entry_for(packed, compression=compression))
    assert image.disk.read_bytes() == disk.read_bytes()
    assert image.format == "qcow2"
    assert [path for path in (cache / "images/work").rglob("*") if path.is_file()] == []
    with pytest.raises(ImageFault, match="the catalogue says 0000"):
        store.obtain(entry_for(packed, compression=compression, sha256="0" * 64))


@pytest.mark.parametrize("disk_format", ["vmdk", "vhdx", "vdi", "vpc"])
@pytest.mark.parametrize("compression", ["none", "xz"])
def test_another_format_is_converted(
    store: Store, disk: Path, entry_for: MakeEntry, disk_format: str, compression: str
) -> None:
    tmp_path = disk.parent
    path = tmp_path / f"disk.{disk_format}"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", disk_format, disk, path], check=True)
    if compression != "none":
        path = pack(compression, path.read_bytes(), tmp_path / "packed")
    image = store.obtain(entry_for(path, format=disk_format, compression=compression))
    assert (image.format, examine(image.disk, "qcow2").format) == ("qcow2", "qcow2")
    expected = content_of(disk, "qcow2", tmp_path)
    # VHD rounds a disk up to whole cylinders.
    assert content_of(image.disk, "qcow2", tmp_path)[: len(expected)] == expected


def test_a_vmdk_for_esx_streams_is_converted(store: Store, tmp_path: Path, disk: Path, entry_for: MakeEntry) -> None:
    path = tmp_path / "disk.vmdk"
    options = ["-f", "qcow2", "-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "convert", *options, disk, path], check=True)
    image = store.obtain(entry_for(path, format="vmdk"))
    assert content_of(image.disk, "qcow2", tmp_path) == content_of(disk, "qcow2", tmp_path)


def test_holes_of_a_raw_disk_stay_holes(tmp_path: Path) -> None:
    packed = pack("xz", b"start" + bytes(32 * MIB) + b"end", tmp_path / "packed")
    target = unpacked(packed, "xz")
    assert target.stat().st_size == 32 * MIB + len(b"startend")
    assert target.read_bytes().strip(b"\0") == b"start" + bytes(32 * MIB) + b"end"
    assert target.stat().st_blocks * 512 < 4 * MIB


@pytest.mark.parametrize("compression", ["xz", "gz", "bz2", "zst"])
def test_streams_one_after_the_other_are_one_file(tmp_path: Path, compression: str) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(PACKERS[compression](b"first,") + PACKERS[compression](b"second"))
    assert unpacked(packed, compression).read_bytes() == b"first,second"


@pytest.mark.parametrize("compression", [*PACKERS, "zip"])
def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path, compression: str) -> None:
    packed = pack(compression, bytes(64 * MIB), tmp_path / "packed")
    assert packed.stat().st_size < MIB
    with pytest.raises(ImageFault, match="unpacks to"):
        unpacked(packed, compression, limit=8 * MIB)
    assert packed.with_name("target").stat().st_blocks * 512 <= 8 * MIB


def test_a_zip_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    packed = pack("zip", bytes(64 * MIB), tmp_path / "packed")
    data = packed.read_bytes()
    packed.write_bytes(data.replace((64 * MIB).to_bytes(4, "little"), (4 * MIB).to_bytes(4, "little")))
    # What it claims is all that is taken of it; the checksum then tells.
    with pytest.raises(ImageFault, match="not a whole zip"):
        unpacked(packed, "zip", limit=8 * MIB)


def test_an_xz_file_that_wants_too_much_memory_is_refused(tmp_path: Path) -> None:
    packed = pack("xz", b"small", tmp_path / "packed")
    data = bytearray(packed.read_bytes())
    # The block header follows the 12 bytes of the stream's; its filter flags end in the dictionary's size, and a CRC
    # of the header is last (xz file format 1.1, 3.1 and 5.3.1): 40 is 4 GiB - 1.
    size = (data[12] + 1) * 4
    data[12 + 4] = 40
    data[12 + size - 4 : 12 + size] = zlib.crc32(data[12 : 12 + size - 4]).to_bytes(4, "little")
    packed.write_bytes(data)
    with pytest.raises(ImageFault, match=r"(?i)memory"):
        unpacked(packed, "xz")


@pytest.mark.parametrize("compression", [*PACKERS, "zip"])
@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.99])
def test_a_truncated_file_is_one_line(tmp_path: Path, compression: str, keep: float) -> None:
    content = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(4096))
    packed = pack(compression, content, tmp_path / "packed")
    whole = packed.read_bytes()
    packed.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    with pytest.raises(ImageFault, match="is not a whole") as caught:
        unpacked(packed, compression)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compression", [*PACKERS, "zip"])
def test_what_is_not_packed_as_declared_is_one_line(tmp_path: Path, disk: Path, compression: str) -> None:
    unpackable = tmp_path / "packed"
    unpackable.write_bytes(disk.read_bytes())
    with pytest.raises(ImageFault, match="is not a whole"):
        unpacked(unpackable, compression)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"../disk.img": b"x"}, "path '../disk.img'"),
        ({"disk.img": b"x", "a/../../b": b"x"}, "path"),
        ({"/etc/passwd": b"x"}, "path '/etc/passwd'"),
        ({"..\\disk.img": b"x"}, "path"),
        ({"disk.img": b"x", "second.img": b"y"}, "holds 2"),
        ({"folder/": b""}, "holds 0"),
        ({}, "holds 0"),
    ],
)
def test_a_zip_with_anything_but_one_file_is_refused(tmp_path: Path, content: dict[str, bytes], message: str) -> None:
    packed = tmp_path / "packed"
    _zip(packed, content)
    with pytest.raises(ImageFault, match="refused") as caught:
        unpacked(packed, "zip")
    assert message in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"packed", "target"}


def _spoilt_zip(path: Path, method: int, old: bytes, new: bytes, times: int = -1) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("disk\u00e9.img", b"x" * 100_000)
    path.write_bytes(path.read_bytes().replace(old, new, times))
    return path


@pytest.mark.parametrize(
    ("method", "old", "new", "times"),
    [
        (zipfile.ZIP_STORED, b"\xc3\xa9", b"\xff\xff", -1),
        (zipfile.ZIP_STORED, b"\xc3\xa9", b"\xff\xff", 1),
        (zipfile.ZIP_STORED, b"disk", b"\0isk", -1),
        (zipfile.ZIP_BZIP2, b"BZh", b"xxx", -1),
    ],
    ids=["names", "its own name", "no name", "bz2"],
)
def test_a_damaged_zip_is_one_line(tmp_path: Path, method: int, old: bytes, new: bytes, times: int) -> None:
    with pytest.raises(ImageFault) as caught:
        unpacked(_spoilt_zip(tmp_path / "packed", method, old, new, times), "zip")
    assert "\n" not in str(caught.value)


def test_a_zip_that_begins_before_itself_is_one_line(tmp_path: Path) -> None:
    packed = _spoilt_zip(tmp_path / "packed", zipfile.ZIP_STORED, b"", b"", 0)
    data = bytearray(packed.read_bytes())
    # The end record: where the list of files is, counted from the start (APPNOTE.TXT, 4.3.16).
    at = data.rindex(b"PK\5\6") + 16
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + 10).to_bytes(4, "little")
    packed.write_bytes(data)
    with pytest.raises(ImageFault, match="is not a whole zip file"):
        unpacked(packed, "zip")


def test_a_refused_pack_does_not_enter_the_cache(
    store: Store, cache: Path, tmp_path: Path, entry_for: MakeEntry
) -> None:
    packed = pack("xz", b"not a disk", tmp_path / "packed")
    with pytest.raises(ImageFault, match="is not a qcow2 image"):
        store.obtain(entry_for(packed, compression="xz"))
    packed.write_bytes(packed.read_bytes()[:-8])
    with pytest.raises(ImageFault, match="small: the file is not a whole xz file") as caught:
        store.obtain(entry_for(packed, compression="xz"))
    assert "\n" not in str(caught.value)
    assert list((cache / "images/objects").iterdir()) == []


def test_a_vmdk_that_names_other_files_is_refused_before_they_are_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * MIB)
    flat, descriptor = tmp_path / "flat.vmdk", tmp_path / "in-extent.vmdk"
    text = f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "{secret}" 0\n'
    flat.write_text(text)
    # An extent of no capacity, whose descriptor in sector 1 is read like a file of its own.
    header = b"KDMV" + (1).to_bytes(4, "little") + (3).to_bytes(4, "little") + bytes(16) + (1).to_bytes(8, "little")
    descriptor.write_bytes(header.ljust(512, b"\0") + text.encode().ljust(4096, b"\0"))
    assert json.loads(_info(flat, "vmdk"))["virtual-size"] == MIB, "qemu-img itself would have opened it"
    for path in (flat, descriptor):
        with pytest.raises(ImageFault, match="refused, is a vmdk descriptor"):
            examine(path, "vmdk")


def test_a_disk_on_top_of_another_is_refused(tmp_path: Path, disk: Path) -> None:
    base, top, vhd = tmp_path / "base.vmdk", tmp_path / "top.vmdk", tmp_path / "disk.vhd"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", disk, base], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, top], check=True)
    with pytest.raises(ImageFault, match="backing file"):
        examine(top, "vmdk")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "vpc", disk, vhd], check=True)
    data = bytearray(vhd.read_bytes())
    data[60:64] = data[-512 + 60 : -512 + 64] = (4).to_bytes(4, "big")
    vhd.write_bytes(data)
    with pytest.raises(ImageFault, match="differencing"):
        examine(vhd, "vpc")


def expanding_vdi(path: Path, gib: int) -> Path:
    """A small VDI of `gib` GiB, all of whose blocks are kept in the one that is there."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "vdi", path, f"{gib}G"], check=True)
    data = bytearray(path.read_bytes())
    # The VDI header: offsets of the block map and of the data, blocks in the disk, blocks in the file.
    blocks_at, data_at = struct.unpack_from("<II", data, 0x154)
    (blocks,) = struct.unpack_from("<I", data, 0x180)
    struct.pack_into("<I", data, 0x184, blocks)
    data[blocks_at : blocks_at + 4 * blocks] = bytes(4 * blocks)
    path.write_bytes(bytes(data[:data_at]).ljust(data_at, b"\0") + b"x" * MIB)
    return path


def test_a_disk_that_expands_is_refused_before_it_is_converted(
    store: Store, cache: Path, tmp_path: Path, entry_for: MakeEntry
) -> None:
    path = expanding_vdi(tmp_path / "bomb.vdi", 100)
    with pytest.raises(ImageFault, match=r"refused, expands to 107\d+ bytes, allowed are 68719476736") as caught:
        store.obtain(entry_for(path, format="vdi"))
    assert "\n" not in str(caught.value)
    assert list((cache / "images/objects").iterdir()) == []
    with pytest.raises(ImageFault, match="allowed are 1073741824"):
        store.obtain(entry_for(path, format="vdi", unpacked_gib=1))


def test_a_disk_that_does_not_fit_is_refused_before_it_is_converted(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    path = expanding_vdi(tmp_path / "bomb.vdi", free // 1024**3 + 2)
    with pytest.raises(ImageFault, match=r"expands to \d+ bytes, .* has \d+ free"):
        refuse_expansion(path, "vdi", tmp_path, 1 << 50)


@pytest.mark.parametrize("disk_format", ["vmdk", "vhdx", "vdi", "vpc"])
@pytest.mark.parametrize("content", [b"", b"MZ" * 1000, b"KDMV" + b"\xff" * 1000, b"vhdxfile", b"conectix" * 100])
def test_what_is_not_a_disk_of_the_format_is_refused(tmp_path: Path, disk_format: str, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ImageFault) as caught:
        examine(path, disk_format)
    assert "\n" not in str(caught.value)


def test_a_packed_image_has_a_key_of_its_own(store: Store, disk: Path, entry_for: MakeEntry) -> None:
    keys = {store.key_of(entry_for(disk, compression=each)) for each in ("none", "xz", "zip")}
    assert len(keys) == 3
    assert store.key_of(entry_for(disk)) == store.key_of(entry_for(disk, compression="none"))


def _info(path: Path, disk_format: str) -> str:
    argv = ["qemu-img", "info", "--output=json", "-f", disk_format, path]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
