"""Write the catalogue entry and the guest of a disk image that somebody has, as far as it can be looked into."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from images.faults import ImageFault
from images.fetch import own_file
from images.inspecting import Findings, System, inspect
from images.manifest import file_digest
from images.model import UrlEntry
from images.progress import Reporter
from matrix.mistakes import Mistakes, Problem
from matrix.model import GuestSpec, Login, Resources

_TODO = "# to be filled in by hand: "
_UNPRINTABLE = re.compile(r"[^ -~]")


@dataclass(frozen=True)
class Imported:
    """The files that were written, and what was found, a line each."""

    files: tuple[Path, ...]
    lines: tuple[str, ...]


def import_image(file: Path, name: str, folder: Path, work: Path, report: Reporter) -> Imported:
    """Write `images/NAME.yaml` and `guests/NAME.yaml` below `folder` for the disk image `file`, which stays where it is.

    `work` is an empty folder with room for what is in the image. Raises ImageFault, and Mistakes rather than replace what exists.
    """
    path = own_file(name, file.resolve())
    targets = (folder / "images" / f"{name}.yaml", folder / "guests" / f"{name}.yaml")
    for target in targets:
        if target.exists():
            raise Mistakes([Problem(str(target), 0, "", "exists already; remove it, or choose another name")])
    try:
        findings = _found(path, work, report)
        with report.task(f"{name}: reading {path}") as task:
            digest = file_digest(path, "sha256", task.advance)
        texts = (_image_text(name, path, digest, findings), _guest_text(name, findings))
        _write(dict(zip(targets, texts, strict=True)))
    except OSError as error:
        raise ImageFault(f"{name}: {error.filename or path}: {error.strerror or error}") from error
    return Imported(targets, tuple(_lines(findings)))


def _found(path: Path, work: Path, report: Reporter) -> Findings:
    try:
        return inspect(path, work, report)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ImageFault(
                f"{path}: there is no room for what is in it below {work}; make some, or set GUESTCERT_CACHE_DIR"
            ) from error
        raise


def _write(texts: Mapping[Path, str]) -> None:
    """None of the files unless all of them have room. Raises OSError."""
    partials = {target: target.with_name(f".{target.stem}.{os.getpid()}.partial") for target in texts}
    try:
        for target, partial in partials.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(texts[target], encoding="utf-8")
        for target, partial in partials.items():
            partial.replace(target)
    except OSError:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise


def _image_text(name: str, path: Path, digest: str, findings: Findings) -> str:
    system = findings.system
    entry = UrlEntry(
        kind="url",
        id=name,
        name=_title(name, system),
        origin=f"a file of ours, {path.name}; say here who made it",
        url=str(path),
        sha256=digest,
        compression=findings.compression,
        format=findings.format,
        root_device=_root_device(system),
        seed="cloud-init" if system is None or system.cloud_init else "none",
    )
    return _yaml(
        entry.model_dump(mode="json", exclude_defaults=True, exclude_none=True), kind="url", format=entry.format
    )


def _guest_text(name: str, findings: Findings) -> str:
    system = findings.system
    release = {} if system is None else system.os_release
    cloud = system is None or system.cloud_init
    guest = GuestSpec(
        id=name,
        name=_title(name, system),
        vendor=_plain(release.get("NAME", "unknown")),
        version=_plain(release.get("VERSION_ID", "unknown")),
        image=name,
        firmware="uefi" if findings.boots == ("uefi",) else "bios",
        boot="loader",
        login=Login(user="root", channel="ssh" if cloud else "console"),
        resources=Resources(vcpus=2, memory_mib=1024),
        os_release={key: _plain(release[key]) for key in ("ID", "VERSION_ID") if release.get(key)},
        init="systemd" if system is None else system.init,
        agent=system is not None and system.agent,
        package_manager=None if system is None else system.package_manager,
    )
    written = (
        "id",
        "name",
        "vendor",
        "version",
        "image",
        "firmware",
        "boot",
        "login",
        "resources",
        "os_release",
        "init",
        "agent",
    )
    data = guest.model_dump(mode="json", exclude_none=True)
    data["resources"] = {key: data["resources"][key] for key in ("vcpus", "memory_mib")}
    text = _yaml({key: data[key] for key in written})
    if guest.package_manager:
        text += f"package_manager: {guest.package_manager}\n"
    missing = [] if findings.boots else ["boot: nothing was found in the image that firmware starts"]
    missing += ["end_of_life: YYYY-MM-DD, or osinfo: with its id in osinfo-db"]
    if system is None:
        missing += ["vendor, version, os_release, init, agent, package_manager: nothing could be looked into"]
    elif not cloud:
        missing += ["login: there is no cloud-init, so nothing can be seeded; the console is the way in"]
    return text + "".join(f"{_TODO}{each}\n" for each in missing)


def _yaml(data: dict[str, object], **first: str) -> str:
    return yaml.dump({**first, **data}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


class _Dumper(yaml.SafeDumper):
    """Quotes text that begins like a number: readers do not agree on which of it is one (`1.5e10`)."""

    def represent_scalar(self, tag: str, value: str, style: str | None = None) -> yaml.ScalarNode:
        numeric = tag.endswith(":str") and re.match(r"[-+.]?[0-9]", value)
        return super().represent_scalar(tag, value, '"' if numeric else style)


def _title(name: str, system: System | None) -> str:
    release = {} if system is None else system.os_release
    return _plain(release.get("PRETTY_NAME") or release.get("NAME") or name)


def _plain(text: str) -> str:
    """Text of the image as one short printable line."""
    return _UNPRINTABLE.sub("?", text)[:200].strip() or "unknown"


def _root_device(system: System | None) -> str:
    if system is None:
        return "LABEL=root"
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,16}", system.label):
        return f"LABEL={system.label}"
    return f"UUID={system.uuid}" if re.fullmatch(r"[0-9a-f-]{36}", system.uuid) else "LABEL=root"


def _lines(findings: Findings) -> list[str]:
    packed = "" if findings.compression == "none" else f", packed with {findings.compression}"
    lines = [
        f"disk: {findings.format}{packed}, {findings.facts.virtual_size / 1024**3:.1f} GiB, partition table: {findings.table}"
    ]
    lines += [
        f"partition {each.number}: {each.size // 1024**2} MiB, {each.filesystem or 'no known file system'}"
        for each in findings.partitions
    ]
    lines.append(f"started by: {' and '.join(findings.boots) or 'nothing that was found here'}")
    if findings.system is not None:
        system = findings.system
        lines += [
            f"system: {_title('unknown', system)} in partition {system.partition.number}",
            f"kernel: {', '.join(system.kernels) or 'none found'}",
            f"init: {system.init}; packages: {system.package_manager or 'no known package manager'}",
            f"cloud-init: {_yes(system.cloud_init)}; guest agent: {_yes(system.agent)}; SSH server: {_yes(system.ssh_server)}",
        ]
    return [*lines, *findings.unknown]


def _yes(there: bool) -> str:
    return "yes" if there else "no"
