"""The loader for a legacy BIOS: the bytes on a disk that a BIOS, and after it SYSLINUX, looks at."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from images import bios_loader
from images.archive import Member, write_tar
from images.disk import DiskIds, RootContent, write_disk
from images.model import DiskLayout

pytestmark = pytest.mark.skipif(shutil.which("syslinux") is None, reason="no syslinux on this host")

MENU = bios_loader.bios_menu("a-guest", ["root=PARTUUID=1234", "ro", "console=ttyS0"])
SECTOR = 512


def output(*argv: str | Path) -> str:
    program = shutil.which(str(argv[0]), path="/usr/bin:/bin:/usr/sbin:/sbin") or str(argv[0])
    return subprocess.run([program, *argv[1:]], check=True, capture_output=True, text=True).stdout


def written(folder: Path, *, bios: bool) -> Path:
    """A disk with an almost empty root file system."""
    for name in ("root", "late"):
        write_tar(folder / f"{name}.tar", [Member(f"/etc/{name}", name)])
    esp = folder / "esp"
    esp.mkdir()
    if bios:
        for name in ("kernel", "initrd"):
            (folder / name).write_bytes(name.encode() * 1000)
        bios_loader.lay_out(esp, MENU, folder / "kernel", folder / "initrd")
    disk = folder / "disk.raw"
    content = RootContent(folder / "root.tar", folder / "late.tar", ())
    write_disk(disk, content, esp, DiskLayout(size_gib=1, esp_mib=40), DiskIds.of("test"), bios=bios)
    return disk


def attributes(disk: Path) -> list[str | None]:
    table = json.loads(output("sfdisk", "--json", disk))["partitiontable"]
    return [part.get("attrs") for part in table["partitions"]]


def test_a_bios_finds_boot_code_partition_loader_and_menu(tmp_path: Path) -> None:
    disk = written(tmp_path, bios=True)
    with disk.open("rb") as file:
        first = file.read(SECTOR)
        file.seek(1024 * 1024)
        boot_sector = file.read(SECTOR)
    assert first[:440].strip(b"\0"), "there is boot code"
    assert (first[450], first[510:]) == (0xEE, b"\x55\xaa"), "the protective partition table is still there"
    assert attributes(disk) == ["LegacyBIOSBootable", None]
    assert (boot_sector[3:11], boot_sector[510:]) == (b"SYSLINUX", b"\x55\xaa")
    inside = f"{disk}@@{1024 * 1024}"
    assert output("mtype", "-i", inside, "::/syslinux/syslinux.cfg") == MENU
    assert output("mtype", "-i", inside, "::/syslinux/initrd.img") == "initrd" * 1000
    assert "ldlinux" in output("mdir", "-a", "-b", "-i", inside, "::/syslinux")


def test_without_it_there_is_nothing_that_a_bios_would_start(tmp_path: Path) -> None:
    disk = written(tmp_path, bios=False)
    with disk.open("rb") as file:
        assert not file.read(440).strip(b"\0")
    assert attributes(disk) == [None, None]


def test_xen_lies_beside_the_kernel_with_what_loads_it(tmp_path: Path) -> None:
    for name in ("kernel", "initrd", "xen"):
        (tmp_path / name).write_bytes(name.encode())
    bios_loader.lay_out(tmp_path / "esp", MENU, tmp_path / "kernel", tmp_path / "initrd", tmp_path / "xen")
    folder = tmp_path / "esp" / bios_loader.FOLDER
    assert (folder / "xen.gz").read_bytes() == b"xen"
    # Both are programs of SYSLINUX 6: 32-bit ELF.
    assert [(folder / name).read_bytes()[:5] for name in ("mboot.c32", "libcom32.c32")] == [b"\x7fELF\x01"] * 2


def test_the_menu_waits_for_nobody_and_speaks_on_the_serial_port() -> None:
    lines = [line.strip() for line in MENU.splitlines()]
    assert {"SERIAL 0 115200", "PROMPT 0", "DEFAULT a-guest", "LABEL a-guest"} <= set(lines)
    assert lines[-1] == "APPEND root=PARTUUID=1234 ro console=ttyS0"
