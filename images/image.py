"""An image that is there and verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Image:
    """A verified image in the cache. Its files are read-only and shared: boot an overlay, never the disk itself.

    `digest` is "sha256:..." of the disk, or of disk, kernel and initrd together where these are no part of the disk;
    `kernel_from` says whose kernel it is, if it is not the vendor's (None: it is); `loaders` is the firmware ("uefi",
    "bios") that is known to start the disk by itself; `virtual_size` is in bytes; `root_device` is the kernel's `root=`
    for a direct boot; `seed` says how identity gets in ("built-in": it is there, "cloud-init": attach a NoCloud ISO,
    "ignition": hand over a file as firmware configuration).
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
    loaders: tuple[str, ...] = ()
