"""An image that is there and verified, and the throw-away overlays made on it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from images.command import run
from images.faults import ImageFault


@dataclass(frozen=True)
class Image:
    """A verified image in the cache. Its files are read-only and shared: boot an overlay, never the disk itself.

    `digest` is "sha256:..." of the disk, or of disk, kernel and initrd together where these are no part of the disk;
    `kernel_from` says whose kernel it is, if it is not the vendor's (None: it is);
    `virtual_size` is in bytes; `root_device` is the kernel's `root=` for a
    direct boot; `seed` says how identity gets in ("built-in": it is there, "cloud-init": attach a NoCloud ISO, "ignition": hand over a file as firmware configuration).
    """

    id: str
    digest: str
    disk: Path
    format: str
    virtual_size: int
    kernel: Path | None
    initrd: Path | None
    root_device: str
    ssh_private_key: Path
    ssh_public_key: str
    host_public_key: str
    host_private_key: Path
    seed: Literal["built-in", "cloud-init", "ignition", "none"]
    adjustments: tuple[str, ...]
    origin: str
    kernel_from: str | None = None


def create_overlay(image: Image, path: Path, size_gib: int | None = None) -> None:
    """Create a qcow2 overlay on `image` at `path`, atomically, optionally larger than the image.

    The backing path is absolute and its format is written down, so QEMU never guesses. Raises ImageFault.
    """
    if size_gib is not None and size_gib * 1024**3 < image.virtual_size:
        raise ImageFault(
            f"{image.id}: an overlay of {size_gib} GiB is smaller than the image ({image.virtual_size / 1024**3:g} GiB)"
        )
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    argv = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        image.format,
        "-b",
        str(image.disk.absolute()),
        "--",
        str(partial),
    ]
    if size_gib is not None:
        argv.append(f"{size_gib}G")
    try:
        run(argv)
        partial.rename(path)
    except OSError as error:
        raise ImageFault(f"{path}: cannot create the overlay: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
