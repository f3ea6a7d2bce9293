"""From a recipe to a tar archive of a root file system, and the files laid over it."""

from __future__ import annotations

import io
import os
import shlex
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from images.command import run
from images.disk import DiskIds
from images.faults import ImageFault
from images.keys import IdentityKeys
from images.model import BuildEntry, GuestFile, Initramfs, PlannedBuild, Recipe

# Everything written by us carries this date (the first second of 2020), so that it says nothing about the build.
_MTIME = 1577836800


def bootstrap(entry: BuildEntry, recipe: Recipe, early: Path, archive: Path, log: Path) -> None:
    """Install the distribution with mmdebstrap into the tar `archive`, as root or as an ordinary user.

    Packages come from `entry.mirror` or else from mmdebstrap's own default for the suite, and are verified against
    the distribution's archive keys by apt. Raises ImageFault with apt's own words.
    """
    groups = [group.packages for group in (*recipe.packages, *entry.packages)]
    packages = [entry.kernel, *(package for group in groups for package in group)]
    argv = [
        "mmdebstrap",
        f"--variant={recipe.variant}",
        "--architectures=amd64",
        f"--components={','.join(recipe.components or ('main',))}",
        f"--include={','.join(packages)}",
        "--format=tar",
        # A guest under test needs no translations, and apt need not fetch them.
        '--aptopt=Acquire::Languages "none"',
        # A mirror that is a frozen copy has a Release file whose validity ended; its signature is still checked.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        "--aptopt=Acquire::Retries 3",
        f"--essential-hook=tar-in {shlex.quote(str(early))} /",
        *_systemctl("mask", [unit for change in recipe.masked for unit in change.units]),
        *_systemctl("enable", [unit for change in recipe.enabled for unit in change.units]),
        entry.suite,
        str(archive),
    ]
    if entry.mirror:
        argv.append(entry.mirror)
    run([*_own_namespace(), *argv], log=log, environment=_temporary(archive.parent))


def _systemctl(verb: str, units: Sequence[str]) -> list[str]:
    if not units:
        return []
    return [f'--customize-hook=chroot "$1" systemctl --quiet {verb} {shlex.join(units)}']


def _temporary(folder: Path) -> dict[str, str]:
    # As root the build's own folder, so that a killed build is swept as one. As an ordinary user mmdebstrap works
    # under other user ids, which may not enter a private home folder: its default place it is.
    return {"TMPDIR": str(folder)} if os.geteuid() == 0 else {}


def _own_namespace() -> list[str]:
    """A mount and process namespace around mmdebstrap, so that a kill leaves no mount or process behind.

    Only as root: for others mmdebstrap makes its own user namespace. Left out where the kernel does not allow it.
    """
    if os.geteuid() != 0:
        return []
    wrapper = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
    try:
        run([*wrapper, "true"])
    except ImageFault:
        return []
    return [*wrapper, "--"]


def write_early(path: Path, initramfs: Initramfs | None) -> None:
    """The tar unpacked before the kernel package is configured: what its initramfs hook reads."""
    files = []
    if initramfs:
        settings = f"MODULES={initramfs.modules}\nCOMPRESS={initramfs.compress}\nRESUME=none\nFSTYPE=ext4\n"
        files.append(_file("/etc/initramfs-tools/conf.d/guestcert", settings))
        files.append(
            _file("/usr/share/initramfs-tools/modules.d/guestcert", "".join(f"{name}\n" for name in initramfs.include))
        )
    _write_tar(path, files)


def write_late(path: Path, plan: PlannedBuild, keys: IdentityKeys, ids: DiskIds) -> None:
    """The tar laid over the finished tree: the recipe's files, identity, mount table and boot menu."""
    entry, root_partuuid, esp_partuuid = plan.entry, ids.root, ids.esp
    files = [
        _file("/etc/hostname", f"{entry.id}\n"),
        _file("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {entry.id}\n::1 localhost ip6-localhost ip6-loopback\n"),
        # Present and empty: systemd makes a fresh id at first boot without taking it for an installer's first boot.
        _file("/etc/machine-id", ""),
        _file("/etc/resolv.conf", ""),
        _file(
            "/etc/fstab",
            f"PARTUUID={root_partuuid} / ext4 errors=remount-ro 0 1\nPARTUUID={esp_partuuid} /boot/efi vfat umask=0077,noauto 0 0\n",
        ),
        _file("/root/.ssh/authorized_keys", f"{keys.client.public} guestcert\n", "0600"),
        _file("/etc/ssh/ssh_host_ed25519_key", keys.host.private_text(), "0600"),
        _file("/etc/ssh/ssh_host_ed25519_key.pub", f"{keys.host.public} guestcert\n"),
        _file("/boot/grub/grub.cfg", grub_menu(entry, root_partuuid)),
        *plan.recipe.files,
    ]
    _write_tar(path, files)


def grub_menu(entry: BuildEntry, root_partuuid: str) -> str:
    """The boot menu: one entry, no wait, on screen and first serial port. `$root` is set by the loader's stub."""
    arguments = " ".join([f"root=PARTUUID={root_partuuid}", "ro", *entry.kernel_command_line])
    return (
        "serial --unit=0 --speed=115200\n"
        "terminal_input console serial\n"
        "terminal_output console serial\n"
        "set timeout=0\n"
        f"menuentry '{entry.id}' {{\n"
        f"    linux /vmlinuz {arguments}\n"
        "    initrd /initrd.img\n"
        "}\n"
    )


def _file(path: str, content: str, mode: str = "0644") -> GuestFile:
    return GuestFile(path=path, content=content, mode=mode, reason="part of every built image")


def _write_tar(path: Path, files: Sequence[GuestFile]) -> None:
    """Write `files`, owned by root, with the folders they need. A folder that exists keeps its mode when unpacked."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        made: set[PurePosixPath] = set()
        for file in files:
            inside = PurePosixPath(file.path).relative_to("/")
            for folder in reversed(inside.parents[:-1]):
                # Listed only where no package owns the folder: tar would reset the mode of one that exists.
                if folder not in made and folder.name in {".ssh", "conf.d", "modules.d"}:
                    made.add(folder)
                    member = tarfile.TarInfo(str(folder))
                    member.type, member.mode, member.mtime = (
                        tarfile.DIRTYPE,
                        0o700 if folder.name == ".ssh" else 0o755,
                        _MTIME,
                    )
                    tar.addfile(member)
            data = file.content.encode()
            member = tarfile.TarInfo(str(inside))
            member.size, member.mode, member.mtime = len(data), int(file.mode, 8), _MTIME
            tar.addfile(member, io.BytesIO(data))
