"""From a recipe to a tar archive of a root file system, and the files laid over it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from images.archive import Member, write_tar
from images.command import run, run_logged
from images.disk import DiskIds
from images.faults import ImageFault
from images.forms import KernelPackage
from images.keys import IdentityKeys
from images.model import BuildEntry, Initramfs, PlannedBuild, Recipe, XenLoader

_MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
"""mmdebstrap's own hooks that make /lib a link to /usr/lib before packages are unpacked (merged-usr, its manual)."""

_HOOK_HEAD = """\
#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
"""


_UNIT_FOLDER = "/etc/systemd/system/"


def bootstrap(entry: BuildEntry, recipe: Recipe, archive: Path, log: Path, *, early: Path, units: Path) -> None:
    """Install the distribution with mmdebstrap into the tar `archive`, as root or as an ordinary user.

    The tar `early` is laid over the tree before the kernel package is configured, `units` before units are enabled.
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
        *_apt_options(entry.expired_release),
        *_kernel_suite(entry),
        f"--essential-hook=tar-in {shlex.quote(str(early))} /",
        f"--customize-hook=tar-in {shlex.quote(str(units))} /",
        *_systemctl("mask", [unit for change in recipe.masked for unit in change.units]),
        *_systemctl("enable", [unit for change in recipe.enabled for unit in change.units]),
        entry.suite,
        str(archive),
    ]
    if entry.mirror:
        argv.append(entry.mirror)
    run_logged([*_own_namespace(), *argv], log, _temporary(archive.parent))


def extract(kernel: KernelPackage, packages: Sequence[str], archive: Path, log: Path) -> None:
    """Unpack `packages` and what they depend on into the tar `archive` without installing them; index their modules.

    Raises ImageFault with apt's own words.
    """
    options = [
        *_apt_options(kernel.expired_release),
        # What the kernel package's own script would do; kmod is among what it depends on.
        '--extract-hook=for folder in "$1"/usr/lib/modules/*; do chroot "$1" /sbin/depmod "${folder##*/}"; done',
    ]
    extract_packages(kernel.suite, packages, archive, log, options=options, mirror=kernel.mirror)


def extract_packages(
    suite: str,
    packages: Sequence[str],
    archive: Path,
    log: Path,
    *,
    options: Sequence[str] = (),
    mirror: str | None = None,
) -> None:
    """Unpack `packages` of `suite` and what they depend on into the tar `archive`; `options` are mmdebstrap's.

    Raises ImageFault with apt's own words.
    """
    argv = [
        "mmdebstrap",
        "--variant=extract",
        "--architectures=amd64",
        f"--include={','.join(packages)}",
        "--format=tar",
        f"--hook-dir={_MERGED_USR}",
        '--aptopt=Acquire::Languages "none"',
        *options,
        suite,
        str(archive),
    ]
    if mirror:
        argv.append(mirror)
    run_logged([*_own_namespace(), *argv], log, _temporary(archive.parent))


def _kernel_suite(entry: BuildEntry) -> list[str]:
    """Hooks that offer apt a second suite of the same archive, and have it prefer that one's kernel packages."""
    if entry.kernel_suite is None:
        return []
    suite, other = entry.suite, entry.kernel_suite
    # The line that mmdebstrap wrote for the suite itself, whatever mirror it is from.
    lines = f'sed -n \'s/ {suite} / {other} /p\' "$1/etc/apt/sources.list" >"$1/etc/apt/sources.list.d/{other}.list"'
    pin = f"Package: linux-image-* linux-base* linux-sysctl-defaults\\nPin: release n={other}\\nPin-Priority: 990\\n"
    return [f"--setup-hook={lines}", f"--setup-hook=printf '{pin}' >\"$1/etc/apt/preferences.d/{other}\""]


def _apt_options(expired_release: str) -> list[str]:
    valid = ['--aptopt=Acquire::Check-Valid-Until "false"'] if expired_release == "accept" else []
    return [*valid, "--aptopt=Acquire::Retries 3"]


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
    members: list[Member] = []
    if initramfs and initramfs.tool == "dracut":
        # Not for the machine that builds the image, and with nothing but what is named.
        lines = ['hostonly="no"', f'compress="{initramfs.compress}"']
        lines += [f'drivers=" {" ".join(initramfs.include)} "'] if initramfs.modules == "list" else []
        lists = {
            "omit_dracutmodules": initramfs.omit,
            "install_items": initramfs.install,
            "remove_items": initramfs.remove,
        }
        lines += [f'{setting}+=" {" ".join(words)} "' for setting, words in lists.items() if words]
        members.append(Member("/etc/dracut.conf.d/guestcert.conf", "".join(f"{line}\n" for line in lines)))
    elif initramfs:
        settings = f"MODULES={initramfs.modules}\nCOMPRESS={initramfs.compress}\nRESUME=none\nFSTYPE=ext4\n"
        members.append(Member("/etc/initramfs-tools/conf.d/guestcert", settings))
        # Not a list in modules.d: those are all loaded at every boot, which took longer than the rest of the initrd.
        hook = f"{_HOOK_HEAD}manual_add_modules {' '.join(initramfs.include)}\n"
        members.append(Member("/etc/initramfs-tools/hooks/guestcert", hook, 0o755))
    write_tar(path, members)


def write_units(path: Path, recipe: Recipe) -> None:
    """The tar with the recipe's own systemd units, which have to be there to be enabled."""
    own = [file for file in recipe.files if file.path.startswith(_UNIT_FOLDER)]
    write_tar(path, [Member(file.path, file.content, int(file.mode, 8)) for file in own])


def write_late(path: Path, plan: PlannedBuild, keys: IdentityKeys, ids: DiskIds, edited: Sequence[Member] = ()) -> None:
    """The tar laid over the finished tree: the recipe's and `edited` files, identity, mount table and boot menu."""
    entry, recipe = plan.entry, plan.recipe
    mounts = (
        f"PARTUUID={ids.root} / ext4 errors=remount-ro 0 1\nPARTUUID={ids.esp} /boot/efi vfat umask=0077,noauto 0 0\n"
    )
    generators = [name for change in recipe.masked_generators for name in change.generators]
    members = [
        Member("/etc/hostname", f"{entry.id}\n"),
        Member("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {entry.id}\n::1 localhost ip6-localhost ip6-loopback\n"),
        # Present and empty: systemd makes a fresh id at first boot without taking it for an installer's first boot.
        Member("/etc/machine-id", ""),
        Member("/etc/resolv.conf", ""),
        Member("/etc/fstab", mounts),
        *(_identity(keys) if recipe.seed == "built-in" else []),
        Member("/boot/grub/grub.cfg", grub_menu(entry, ids.root)),
        *(Member(f"/etc/systemd/system-generators/{name}", link="/dev/null") for name in generators),
        *edited,
        *(Member(file.path, file.content, int(file.mode, 8)) for file in recipe.files),
    ]
    # Dated now, that is after the packages: systemd compares /etc/.updated with /usr (systemd-update-done(8)).
    write_tar(path, members, mtime=int(time.time()))


def _identity(keys: IdentityKeys) -> list[Member]:
    return [
        Member("/root/.ssh/authorized_keys", f"{keys.client.public} guestcert\n", 0o600),
        Member("/etc/ssh/ssh_host_ed25519_key", keys.host.private_text(), 0o600),
        Member("/etc/ssh/ssh_host_ed25519_key.pub", f"{keys.host.public} guestcert\n"),
    ]


def boot_arguments(entry: BuildEntry, root_partuuid: str) -> list[str]:
    """The kernel command line of the image's own boot loader."""
    return [f"root=PARTUUID={root_partuuid}", "ro", *entry.kernel_command_line]


def xen_menu(entry: BuildEntry, xen: XenLoader, kernel: str, initrd: str, root_partuuid: str) -> str:
    """Xen's configuration for its start by the firmware (docs/misc/efi.pandoc of Xen); files are named beside it."""
    arguments = " ".join(boot_arguments(entry, root_partuuid))
    return (
        "[global]\n"
        f"default={entry.id}\n"
        f"[{entry.id}]\n"
        f"options={' '.join(xen.options)}\n"
        f"kernel={kernel} {arguments}\n"
        f"ramdisk={initrd}\n"
    )


def grub_menu(entry: BuildEntry, root_partuuid: str) -> str:
    """The boot menu: one entry, no wait, on screen and first serial port. `$root` is set by the loader's stub."""
    arguments = " ".join(boot_arguments(entry, root_partuuid))
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
