"""Build one image in a work folder: archive, disk, kernel and initrd. The store decides when and where it ends up."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from images import bios_loader
from images.disk import DiskIds, RootContent, to_qcow2, unpack, write_disk
from images.edit import edited_files
from images.faults import ImageFault
from images.keys import IdentityKeys
from images.model import Initramfs, PlannedBuild
from images.progress import Reporter
from images.tree import boot_arguments, bootstrap, write_early, write_late, write_units, xen_menu

BUILD_VERSION = 2
"""Part of every built image's key: raise it when the code here changes what is built from the same recipe."""

_SHIM = "usr/lib/shim/shimx64.efi.signed"
_GRUB = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"


_MAKERS = {
    "initramfs-tools": {"usr/sbin/mkinitramfs", "sbin/mkinitramfs"},
    "dracut": {"usr/bin/dracut", "usr/sbin/dracut"},
}
"""What each tool is run as."""

_NEEDED_BYTES = 3 * 1024**3
"""Free space a build asks for: archive, unpacked tree and disk exist side by side (2 GiB for the shipped recipes)."""


def build(plan: PlannedBuild, key: str, keys: IdentityKeys, work: Path, report: Reporter) -> str:
    """Build `plan` in the empty folder `work`: leaves `disk` (qcow2), `kernel` and `initrd` there.

    Returns the root device for a direct boot. Raises ImageFault; what the programs said is in `work/build.log`.
    """
    free = shutil.disk_usage(work).free
    if free < _NEEDED_BYTES:
        raise ImageFault(
            f"building needs {_NEEDED_BYTES // 1024**2} MiB free below {work.parent.parent}, there are {free // 1024**2}; "
            "free some space or let GUESTCERT_CACHE_DIR name a roomier folder"
        )
    entry, recipe, ids = plan.entry, plan.recipe, DiskIds.of(key)
    log, archive = work / "build.log", work / "root.tar"
    early, units, late = work / "early.tar", work / "units.tar", work / "late.tar"
    disk, raw = work / "disk", work / "disk.raw"
    with report.task(f"{entry.id}: installing {entry.suite} packages (mmdebstrap)"):
        write_early(early, recipe.initramfs)
        write_units(units, recipe)
        bootstrap(entry, recipe, archive, log, early=early, units=units)
    with report.task(f"{entry.id}: writing the disk"):
        write_late(late, plan, keys, ids, edited_files(archive, recipe.edited))
        esp = work / "esp"
        _take_out_boot_files(plan, archive, work, esp, ids)
        dropped = tuple(path for drop in recipe.dropped for path in drop.paths)
        content = RootContent(archive, late, dropped)
        write_disk(raw, content, esp, entry.disk, ids, bios="bios" in entry.loaders)
        archive.unlink()
        to_qcow2(raw, disk)
        raw.unlink()
    return f"PARTUUID={ids.root}"


def _take_out_boot_files(plan: PlannedBuild, archive: Path, work: Path, esp: Path, ids: DiskIds) -> None:
    """Copy kernel and initrd beside the disk, and Xen or the vendor's signed boot loader into the `esp` tree."""
    names = _names(archive)
    version = _only_kernel(names)
    _check_initramfs(plan.recipe.initramfs, names)
    wanted = {f"boot/vmlinuz-{version}": work / "kernel", f"boot/initrd.img-{version}": work / "initrd"}
    boot_folder, xen = esp / "EFI/BOOT", plan.recipe.xen
    loader = {_SHIM: boot_folder / "BOOTX64.EFI", _GRUB: boot_folder / "grubx64.efi"}
    esp.mkdir()
    if xen is not None and xen.loader == "bios":
        wanted[xen.image.lstrip("/")] = work / "xen.gz"
    elif xen is not None:
        wanted[xen.image.lstrip("/")] = boot_folder / "BOOTX64.EFI"
        boot_folder.mkdir(parents=True)
        menu = xen_menu(plan.entry, xen, "vmlinuz", "initrd.img", ids.root)
        (boot_folder / "BOOTX64.cfg").write_text(menu, encoding="ascii")
    elif "uefi" in plan.entry.loaders and loader.keys() <= names:
        wanted |= loader
        boot_folder.mkdir(parents=True)
        (esp / "EFI/debian").mkdir()
        # The signed GRUB reads this file (its built-in prefix) and goes on with the menu in the root file system.
        stub = f"search.fs_uuid {ids.root_filesystem} root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"
        (esp / "EFI/debian/grub.cfg").write_text(stub, encoding="ascii")
    missing = wanted.keys() - names
    if missing:
        raise ImageFault(f"the installed system has no {', '.join(sorted(missing))}")
    boot = work / "boot"
    boot.mkdir()
    unpack(archive, [f"./{name}" for name in wanted], boot)
    for name, target in wanted.items():
        shutil.move(boot / name, target)
    shutil.rmtree(boot)
    if xen is not None and xen.loader == "uefi":  # it reads them from its own partition, and only there
        shutil.copy(work / "kernel", boot_folder / "vmlinuz")
        shutil.copy(work / "initrd", boot_folder / "initrd.img")
    if "bios" in plan.entry.loaders:
        menu = bios_loader.bios_menu(plan.id, boot_arguments(plan.entry, ids.root), xen.options if xen else None)
        bios_loader.lay_out(esp, menu, work / "kernel", work / "initrd", work / "xen.gz" if xen else None)


def _check_initramfs(initramfs: Initramfs | None, names: set[str]) -> None:
    """A report must not tell of settings that nobody read: distributions change what makes their initramfs."""
    if initramfs is not None and not names & _MAKERS[initramfs.tool]:
        raise ImageFault(f"the installed system has no {initramfs.tool}, which its recipe configures")


def _names(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return {member.name.removeprefix("./") for member in tar}


def _only_kernel(names: set[str]) -> str:
    versions = sorted(name.removeprefix("boot/vmlinuz-") for name in names if name.startswith("boot/vmlinuz-"))
    if len(versions) != 1:
        raise ImageFault(f"expected one kernel in the image, found {', '.join(versions) or 'none'}")
    return versions[0]
