"""The QEMU that an installer runs in."""

from __future__ import annotations

from dataclasses import dataclass

EMULATOR = "qemu-system-x86_64"


@dataclass(frozen=True)
class Emulator:
    """The QEMU at `path` (or of that name on PATH), and whether `kvm` really runs guests in it on this machine."""

    path: str
    kvm: bool
