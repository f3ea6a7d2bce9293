"""Look into a disk image before anything opens it as one: what it is, and whether it drags other files in."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from images.command import run
from images.faults import ImageFault

MAX_VIRTUAL_BYTES = 2 * 1024**4
"""No guest image is larger than 2 TiB; a header that says so is a mistake or an attack."""

_MAGIC = {"qcow2": (0, b"QFI\xfb"), "vhdx": (0, b"vhdxfile"), "vdi": (64, b"\x7f\x10\xda\xbe")}


@dataclass(frozen=True)
class DiskFacts:
    """Format as qemu-img sees it, and the size in bytes that the guest will see."""

    format: str
    virtual_size: int


def examine(path: Path, expected_format: str) -> DiskFacts:
    """Check that `path` is a self-contained image of `expected_format`. Raises ImageFault if it is refused.

    Refused are a backing file, an external data file or extent (all name other files, which an untrusted image could
    point anywhere), encryption, a format other than the one declared (a raw disk can *contain* a qcow2 header), and an
    absurd virtual size. qemu-img reads the header only; the format is given, never guessed from the content.
    """
    if wrong := _not_self_contained(path, expected_format):
        raise ImageFault(f"{path}: {wrong}")
    # -U: a running guest may hold the image; only its header is read.
    try:
        output = run(["qemu-img", "info", "-U", "--output=json", "-f", expected_format, "--", str(path)])
    except ImageFault as fault:
        raise ImageFault(f"{path}: is not a usable {expected_format} image: {fault}") from fault
    info = json.loads(output)
    specific = info.get("format-specific", {}).get("data", {})
    for found, what in (
        (info.get("backing-filename") or info.get("full-backing-filename"), "a backing file"),
        (specific.get("data-file"), "an external data file"),
        (_foreign(specific.get("extents", []), path), "an external extent"),
    ):
        if found:
            raise ImageFault(f"{path}: refused, names {what}: {found!r}")
    if info.get("encrypted"):
        raise ImageFault(f"{path}: refused, is encrypted")
    if specific.get("corrupt"):
        raise ImageFault(f"{path}: refused, is marked corrupt")
    size = int(info["virtual-size"])
    if not 0 < size <= MAX_VIRTUAL_BYTES:
        raise ImageFault(f"{path}: refused, claims a size of {size} bytes (allowed: up to {MAX_VIRTUAL_BYTES})")
    return DiskFacts(format=expected_format, virtual_size=size)


def refuse_expansion(path: Path, disk_format: str, folder: Path, limit: int) -> None:
    """Refuse an examined disk whose content, written to `folder`, takes more than `limit` bytes or than are free there.

    A small file may point all clusters of a large disk at one. qemu-img walks its tables without writing anything: some
    8 s for the 2 TiB that `examine` allows. Raises ImageFault.
    """
    output = run(["qemu-img", "measure", "-U", "--output=json", "-f", disk_format, "-O", "qcow2", "--", str(path)])
    needed = int(json.loads(output)["required"])
    if needed > limit:
        raise ImageFault(f"{path}: refused, expands to {needed} bytes, allowed are {limit} (unpacked_gib)")
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ImageFault(f"{path}: expands to {needed} bytes, {folder} has {free} free; free some space there")


def _not_self_contained(path: Path, expected_format: str) -> str | None:
    """What the first and last bytes say against it, before qemu-img is let near: it would open what they name."""
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(max(0, path.stat().st_size - 512))
        foot = file.read(512)
    wrong = f"is not a {expected_format} image"
    if expected_format == "vmdk":
        # A sparse extent (VMware Virtual Disk Format 1.1). Text descriptors name other files, and so may one inside
        # an extent without a capacity.
        if head[:4] == b"KDMV":
            return None if any(head[12:20]) else "refused, is a vmdk descriptor, which names other files"
        return "refused, is a vmdk descriptor, which names other files" if head[:1] == b"#" else wrong
    if expected_format == "vpc":
        # The footer is at the end, and of a dynamic disk also at the start; types are 2 fixed, 3 dynamic, 4 differencing
        # (Virtual Hard Disk Image Format Specification 1.0).
        footers = [each for each in (head, foot) if each[:8] == b"conectix"]
        if any(int.from_bytes(each[60:64], "big") not in {2, 3} for each in footers):
            return "refused, is a differencing disk, which names other files"
        return None if footers else wrong
    offset, magic = _MAGIC.get(expected_format, (0, b""))
    return None if head[offset : offset + len(magic)] == magic else wrong


def _foreign(extents: list[dict[str, str]], path: Path) -> str | None:
    return next((each["filename"] for each in extents if Path(each.get("filename", path)) != path), None)
