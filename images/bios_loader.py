"""What a legacy BIOS needs to start a GPT disk: SYSLINUX in the FAT partition, written without mounting it.

    LBA 0              gptmbr.bin, which starts the partition that has the attribute "legacy BIOS bootable"
    the FAT partition  SYSLINUX's boot sector, and in /syslinux ldlinux.sys, the menu, kernel and initrd

The loader is the host's package syslinux, no part of the guest: what is certified begins with the guest's kernel.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from images.command import run
from images.faults import ImageFault

FOLDER = "syslinux"
"""In the FAT partition; one of the places where SYSLINUX looks for its menu by itself."""

ATTRIBUTE = "LegacyBIOSBootable"
"""sfdisk's word for bit 2 of a GPT entry's attributes (UEFI specification 2.10, table 5.8)."""

_BOOT_CODE = tuple(Path(folder) / "gptmbr.bin" for folder in ("/usr/lib/syslinux/mbr", "/usr/share/syslinux"))
_BOOT_CODE_LIMIT = 440  # what follows is the disk's signature and the protective partition table


def bios_menu(name: str, arguments: Sequence[str]) -> str:
    """SYSLINUX's menu: one entry, no wait, on screen and first serial port."""
    return (
        "SERIAL 0 115200\n"
        "PROMPT 0\n"
        f"DEFAULT {name}\n"
        f"LABEL {name}\n"
        "    LINUX vmlinuz\n"
        "    INITRD initrd.img\n"
        f"    APPEND {' '.join(arguments)}\n"
    )


def lay_out(tree: Path, menu: str, kernel: Path, initrd: Path) -> None:
    """Put what SYSLINUX starts into `tree`, which becomes the FAT partition."""
    folder = tree / FOLDER
    folder.mkdir(parents=True)
    (folder / "syslinux.cfg").write_text(menu, encoding="ascii")
    shutil.copy(kernel, folder / "vmlinuz")
    shutil.copy(initrd, folder / "initrd.img")


def install(disk: Path, offset: int) -> None:
    """Install SYSLINUX in the FAT partition at byte `offset` of the raw disk `disk`, and what starts it. Raises ImageFault."""
    run(["syslinux", "--install", "--directory", FOLDER, "--offset", str(offset), str(disk)])
    path = next((path for path in _BOOT_CODE if path.exists()), None)
    if path is None:
        raise ImageFault("gptmbr.bin is missing on this host; install the package syslinux-common")
    code = path.read_bytes()
    if len(code) > _BOOT_CODE_LIMIT:
        raise ImageFault(f"{path} has {len(code)} bytes, more than the {_BOOT_CODE_LIMIT} that a boot sector holds")
    with disk.open("r+b") as file:
        file.write(code)
