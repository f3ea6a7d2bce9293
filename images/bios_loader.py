"""What a legacy BIOS needs to start a GPT disk: SYSLINUX in the FAT partition, written without mounting it.

    LBA 0              gptmbr.bin, which starts the partition that has the attribute "legacy BIOS bootable"
    the FAT partition  SYSLINUX's boot sector, and in /syslinux ldlinux.sys, the menu, kernel and initrd, and where Xen is to
                       start them also Xen and what loads it (mboot.c32)

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
_MODULES = Path("/usr/lib/syslinux/modules/bios")
_MULTIBOOT = ("mboot.c32", "libcom32.c32")
_BOOT_CODE_LIMIT = 440  # what follows is the disk's signature and the protective partition table


def bios_menu(name: str, arguments: Sequence[str], xen: Sequence[str] | None = None) -> str:
    """SYSLINUX's menu: one entry, no wait, on screen and first serial port.

    `xen` is the command line of the Xen that is to start the kernel.
    """
    words = " ".join(arguments)
    if xen is None:
        entry = f"    LINUX vmlinuz\n    INITRD initrd.img\n    APPEND {words}\n"
    else:
        entry = f"    KERNEL mboot.c32\n    APPEND xen.gz {' '.join(xen)} --- vmlinuz {words} --- initrd.img\n"
    return f"SERIAL 0 115200\nPROMPT 0\nDEFAULT {name}\nLABEL {name}\n{entry}"


def lay_out(tree: Path, menu: str, kernel: Path, initrd: Path, xen: Path | None = None) -> None:
    """Put what SYSLINUX starts into `tree`, which becomes the FAT partition. Raises ImageFault."""
    folder = tree / FOLDER
    folder.mkdir(parents=True)
    (folder / "syslinux.cfg").write_text(menu, encoding="ascii")
    shutil.copy(kernel, folder / "vmlinuz")
    shutil.copy(initrd, folder / "initrd.img")
    if xen is not None:
        shutil.copy(xen, folder / "xen.gz")
        for name in _MULTIBOOT:
            if not (_MODULES / name).exists():
                raise ImageFault(f"{_MODULES / name} is missing on this host; install the package syslinux-common")
            shutil.copy(_MODULES / name, folder / name)


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
