"""Look into a disk image before anything opens it as one: what it is, and whether it drags other files in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from images.command import run
from images.faults import ImageFault

MAX_VIRTUAL_BYTES = 2 * 1024**4
"""No guest image is larger than 2 TiB; a header that says so is a mistake or an attack."""


@dataclass(frozen=True)
class DiskFacts:
    """Format as qemu-img sees it, and the size in bytes that the guest will see."""

    format: str
    virtual_size: int


def examine(path: Path, expected_format: str) -> DiskFacts:
    """Check that `path` is a self-contained image of `expected_format`. Raises ImageFault if it is refused.

    Refused are a backing file, an external data file (both name other files, which an untrusted image could point
    anywhere), encryption, a format other than the one declared (a raw disk can *contain* a qcow2 header), and an
    absurd virtual size. qemu-img reads the header only; the format is given, never guessed from the content.
    """
    if expected_format == "qcow2":
        with path.open("rb") as file:
            if file.read(4) != b"QFI\xfb":
                raise ImageFault(f"{path}: is not a qcow2 image")
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
