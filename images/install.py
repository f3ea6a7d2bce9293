"""A vendor's installer driven once: what it is given, the machine it runs in, and the disk that comes out."""

from __future__ import annotations

import dataclasses
import gzip
import re
import secrets
import tarfile
from dataclasses import dataclass
from pathlib import Path

from images.answers import Answers, Volume, Wishes, answers_for
from images.command import run
from images.disk import empty_disk, to_qcow2
from images.faults import ImageFault
from images.fetch import fetch
from images.forms import InstallEntry, InstallerPackage
from images.initramfs import add_files
from images.installer_machine import Machine, install
from images.installer_network import InstallerNetwork, seen_from_guest
from images.keys import IdentityKeys
from images.medium import take_out
from images.model import PublishedEntry
from images.tree import extract_packages
from images.workplace import Workplace

INSTALL_VERSION = 1
"""Part of every installed image's key: raise it when the code here changes what comes out of the same entry."""

_DEBIAN_VERSION = re.compile(r"[^(]{1,200}\(([A-Za-z0-9.+:~-]{1,100})\)")


@dataclass(frozen=True)
class Installed:
    """`root_device` of the disk that was written, and one line for each thing that was decided for the installer."""

    root_device: str
    adjustments: tuple[str, ...]


def answers_digest(entry: InstallEntry, keys: IdentityKeys) -> str:
    """What the answers add to an image's key: they decide what comes out. Raises ImageFault."""
    return _answers(entry, keys).digest()


def build_installed(entry: InstallEntry, place: Workplace) -> Installed:
    """Install in the work folder of `place`: leaves `disk` (qcow2) there.

    Raises ImageFault; what the installer said on its console is in `build.log`.
    """
    work, report, log = place.work, place.report, place.work / "build.log"
    # A host key and whoever may log in are among the answers: nobody else on this machine reads them.
    room = work / "private"
    room.mkdir(mode=0o700)
    answers = _answers(
        entry, place.keys, InstallerNetwork.of_this_machine(_suite(entry)), password=f"Aa1-{secrets.token_urlsafe(24)}"
    )
    for name, file in entry.files.items():
        named = PublishedEntry(id=entry.id, name=entry.name, origin=entry.origin, **file.model_dump(include=_FETCHED))
        fetch(named, place.partial_of(f"{name}."), room / name, report)
    origin = _take_out_installer(entry, place, room, log)
    if answers.in_initrd:
        add_files(room / "initrd", {file.path: file.content for file in answers.in_initrd})
    if answers.volume is not None:
        write_volume(answers.volume, room / "answers.iso")
    empty_disk(room / "disk", entry.disk_gib)
    machine = Machine(
        disk_bus=entry.disk_bus,
        memory_mib=entry.memory_mib,
        cpu=entry.cpu,
        kernel="kernel" if (room / "kernel").exists() else None,
        initrd="initrd" if (room / "initrd").exists() else None,
        arguments=answers.arguments,
        cd_roms=tuple(name for name in ("iso", "answers.iso", "drivers") if (room / name).exists()),
        reboots=answers.reboots,
        question=answers.question,
    )
    emulator = place.emulator()
    with report.task(f"{entry.id}: installing ({'KVM' if emulator.kvm else 'software translation, which takes long'})"):
        install(machine, room, log=log, seconds=entry.minutes * 60, report=report, name=entry.id, emulator=emulator)
    with report.task(f"{entry.id}: writing the disk"):
        to_qcow2(room / "disk", work / "disk", "qcow2")
    lines = [f"installed by {origin}, unattended ({entry.answers}, answers {_digest(entry, place.keys)})"]
    lines += [f"installed {', '.join(group.packages)}: {group.reason}" for group in entry.packages]
    lines.append(
        "written by the installer's last command: root's authorized_keys, a pinned host key as the only one, sshd_config.d/10-guestcert.conf"
    )
    return Installed(f"{_disk(entry)}1", tuple(lines))


_FETCHED = {"url", "sha256", "sha512"}


def _suite(entry: InstallEntry) -> str | None:
    return None if entry.package is None else entry.package.suite


def _disk(entry: InstallEntry) -> str:
    return "/dev/vda" if entry.disk_bus == "virtio" else "/dev/sda"


def _digest(entry: InstallEntry, keys: IdentityKeys) -> str:
    return f"sha256:{answers_digest(entry, keys)[:16]}"


def _answers(
    entry: InstallEntry,
    keys: IdentityKeys,
    network: InstallerNetwork | None = None,
    password: str | None = None,
) -> Answers:
    """The answers; `network` are wishes of this machine's own that do not decide what comes out."""
    wishes = Wishes(
        hostname=entry.id.replace(".", "-").replace("_", "-"),
        authorized_key=keys.client.public,
        host_private_key=keys.host.private_text(),
        host_public_key=keys.host.public,
        disk=_disk(entry),
        packages=tuple(name for group in entry.packages for name in group.packages),
        kernel_arguments=entry.kernel_command_line,
        suite=_suite(entry),
        mirror=seen_from_guest(entry.mirror),
        repository=seen_from_guest(entry.tree.repository if entry.tree is not None else None),
        product=entry.product,
        product_key=entry.product_key,
    )
    if network is not None:
        wishes = dataclasses.replace(wishes, mirror=wishes.mirror or network.mirror, proxy=network.proxy)
    if password is not None:
        wishes = dataclasses.replace(wishes, password=password)
    return answers_for(entry.answers, wishes)


def _take_out_installer(entry: InstallEntry, place: Workplace, room: Path, log: Path) -> str:
    """Put the installer's `kernel` and `initrd` into `room`, where it has them; who it is and of which version."""
    if entry.package is not None:
        with place.report.task(f"{entry.id}: fetching {entry.package.package}"):
            return _from_package(entry.package, room, log)
    if entry.iso is not None:
        if entry.iso.kernel is not None and entry.iso.initrd is not None:
            with place.report.task(f"{entry.id}: taking kernel and initrd out of the medium"):
                take_out(room / "iso", entry.iso.kernel, room / "kernel")
                take_out(room / "iso", entry.iso.initrd, room / "initrd")
        return f"the medium with {_named(entry.iso.sha256, entry.iso.sha512)}"
    kernel = entry.files["kernel"]
    return f"the installer whose kernel has {_named(kernel.sha256, kernel.sha512)}"


def _named(sha256: str | None, sha512: str | None) -> str:
    return f"sha256:{sha256[:16]}" if sha256 else f"sha512:{(sha512 or '')[:16]}"


def _from_package(package: InstallerPackage, room: Path, log: Path) -> str:
    archive = room / "package.tar"
    valid = ['--aptopt=Acquire::Check-Valid-Until "false"'] if package.expired_release == "accept" else []
    extract_packages(package.suite, [package.package], archive, log, options=valid, mirror=package.mirror)
    with tarfile.open(archive) as tar:
        for name, path in (("kernel", package.kernel), ("initrd", package.initrd)):
            (room / name).write_bytes(_member(tar, path))
        try:
            changes = gzip.decompress(_member(tar, f"/usr/share/doc/{package.package}/changelog.gz"))
        except (ImageFault, OSError, EOFError):
            changes = b""
    archive.unlink()
    match = _DEBIAN_VERSION.match(changes[:400].decode("utf-8", "replace"))
    return f"{package.package} {match[1]}" if match else package.package


def _member(tar: tarfile.TarFile, path: str) -> bytes:
    """A regular file of an archive, whose names may begin with "./"."""
    for name in (f".{path}", path.lstrip("/")):
        try:
            opened = tar.extractfile(name)
        except KeyError:
            continue
        if opened is not None:
            return opened.read()
    raise ImageFault(f"the package has no file {path}")


def write_volume(volume: Volume, path: Path) -> None:
    """Write the CD-ROM at `path`; a folder beside it is made for that. Raises ImageFault."""
    tree = path.with_suffix(".files")
    for file in volume.files:
        target = tree / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
    options = ["-quiet", "-volid", volume.label, "-joliet", "-rational-rock"]
    run(["xorriso", "-as", "mkisofs", *options, "-o", str(path), str(tree)])
