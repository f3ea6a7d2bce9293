"""What osinfo-db knows of an operating system: end of life, resources it needs, devices it has drivers for.

osinfo-db is the database of libosinfo, virt-install and GNOME Boxes: XML files kept up by the distributions.
The guests of the matrix name it by id (`osinfo: http://debian.org/debian/12`) and only override what it says.

**Refreshing it.** A distribution's package (`osinfo-db`) is as old as the distribution and does not know what
came out later. `osinfo-db-import --user --latest` (package `osinfo-db-tools`) brings the newest release into
`~/.config/osinfo`, `--local` into `/etc/osinfo` for everybody; a downloaded archive can be given instead of
`--latest` where there is no network. Either lies over the package's files and is found without a setting.
`Osinfo.version` names every database in use, for reports.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import platformdirs
from lxml import etree
from pydantic import BaseModel, ConfigDict, ValidationError

from matrix.model import Cell, GuestSpec

# The largest file of osinfo-db 20250606 has 90 kB.
_LARGEST_FILE: Final = 4 * 1024 * 1024
_ID: Final = re.compile(r"https?://([A-Za-z0-9][A-Za-z0-9.-]*)/([A-Za-z0-9][A-Za-z0-9._+/-]*)")
_OS_ELEMENT: Final = re.compile(rb"<os\s[^>]*?\bid\s*=\s*[\"']([^\"']+)[\"']")
# The index looks for `<os id=...>` in so much of a file; it follows the licence note.
_HEAD: Final = 4096
_ARCH_OF_ALL: Final = "all"
_EMULATED_CARDS: Final = ("e1000e", "e1000", "rtl8139")
"""As the database and `Devices` call them, the newest first."""


class OsinfoResources(BaseModel):
    """What an operating system needs or should have; None where the database does not say.

    `cpus` counts virtual CPUs, `cpu_hz` is their clock rate, `ram_bytes` and `storage_bytes` are bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: int | None = None
    cpu_hz: int | None = None
    ram_bytes: int | None = None
    storage_bytes: int | None = None


class OsinfoDevice(BaseModel):
    """A device that the operating system has a driver for; `kind` is `net`, `block`, `video`, `rng`, ..."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str | None = None
    kind: str | None = None


class OsinfoEntry(BaseModel):
    """One operating system, as one or more files of the database say.

    `minimum` and `recommended` hold for the architecture that was asked for. `devices` includes those inherited
    from the systems it derives from or clones; dates are never inherited. `family` is libosinfo's word (`linux`,
    `winnt`, `freebsd`, ...). `release_status` is `prerelease`, `snapshot`, `rolling` or None for a release.
    `sources` are the files, the most basic first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    short_ids: tuple[str, ...] = ()
    name: str
    vendor: str
    version: str | None = None
    codename: str | None = None
    family: str | None = None
    distro: str | None = None
    release_status: str | None = None
    release_date: date | None = None
    end_of_life: date | None = None
    minimum: OsinfoResources = OsinfoResources()
    recommended: OsinfoResources = OsinfoResources()
    devices: tuple[OsinfoDevice, ...] = ()
    derives_from: tuple[str, ...] = ()
    clones: tuple[str, ...] = ()
    upgrades: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def supports(self, device: str) -> bool:
        """Whether there is a driver for `device`, such as `virtio-net`, in its legacy or its 1.0 form."""
        modern = device.replace("virtio-", "virtio1.0-", 1)
        return any(known.name in (device, modern) for known in self.devices)


def completed(guest: GuestSpec, entry: OsinfoEntry) -> GuestSpec:
    """`guest` with what its YAML leaves open taken from the database: end of life, memory (the minimum), vCPUs, and an
    emulated disk or card where there is no driver for a virtio one.

    Whatever the YAML says stays. The disk's size is left alone: the database's is what an installer needs, and an
    image that is ready is as large as its vendor made it.
    """
    resources = guest.resources
    said = resources.model_fields_set if "resources" in guest.model_fields_set else set()
    needed: dict[str, int] = {}
    if "memory_mib" not in said and entry.minimum.ram_bytes:
        needed["memory_mib"] = -(-entry.minimum.ram_bytes // 2**20)
    if "vcpus" not in said and (entry.minimum.cpus or 0) > resources.vcpus:
        needed["vcpus"] = entry.minimum.cpus or 0
    changes: dict[str, object] = {"resources": resources.model_copy(update=needed)} if needed else {}
    if emulated := {name: word for name, word in _emulated(entry).items() if name not in _devices_said(guest)}:
        changes["devices"] = guest.devices.model_copy(update=emulated)
    if guest.end_of_life is None and entry.end_of_life is not None:
        changes["end_of_life"] = entry.end_of_life
    return guest.model_copy(update=changes)


def _emulated(entry: OsinfoEntry) -> dict[str, str]:
    """Fields of `Devices` for what has no driver for virtio; nothing where the database knows no devices at all.

    A SATA disk is in no list of the database, as nothing of the last fifteen years lacks a driver for it.
    """
    found: dict[str, str] = {}
    if entry.devices and not entry.supports("virtio-block"):
        found["disk"] = "sata"
    card = next((name for name in _EMULATED_CARDS if entry.supports(name)), None)
    if card is not None and not entry.supports("virtio-net"):
        found["nic"] = card
    return found


def _devices_said(guest: GuestSpec) -> set[str]:
    return guest.devices.model_fields_set if "devices" in guest.model_fields_set else set()


def complete(cells: Sequence[Cell], osinfo: Osinfo) -> list[Cell]:
    """`cells` with their guests `completed`; the database is asked only about guests whose YAML leaves something open."""
    guests: dict[str, GuestSpec] = {}
    for cell in cells:
        guest = cell.guest
        if guest.id not in guests:
            entry = osinfo.find(guest.osinfo, guest.arch) if guest.osinfo and _leaves_open(guest) else None
            guests[guest.id] = guest if entry is None else completed(guest, entry)
    return [
        cell if guests[cell.guest.id] is cell.guest else replace(cell, guest=guests[cell.guest.id]) for cell in cells
    ]


def _leaves_open(guest: GuestSpec) -> bool:
    said = guest.resources.model_fields_set if "resources" in guest.model_fields_set else set()
    return (
        guest.end_of_life is None or not {"memory_mib", "vcpus"} <= said or not {"disk", "nic"} <= _devices_said(guest)
    )


class _UnreadableError(Exception):
    """A file of the database that cannot be used; one line, naming the file."""


class Osinfo:
    """The osinfo databases of a machine. Only files that an answer needs are read; answers are remembered."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """`folders`: roots of databases (holding `os/` and `device/`); later ones override earlier ones."""
        self.folders = tuple(folders)
        self._elements: dict[str, tuple[etree._Element, ...]] = {}
        self._devices: dict[str, OsinfoDevice] = {}

    @classmethod
    def of_this_machine(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The databases that libosinfo itself would read, in its order: system, local (/etc), user."""
        user = Path(platformdirs.user_config_dir("osinfo", appauthor=False))
        return cls(
            (
                Path(environment.get("OSINFO_SYSTEM_DIR") or "/usr/share/osinfo"),
                Path(environment.get("OSINFO_LOCAL_DIR") or "/etc/osinfo"),
                Path(environment.get("OSINFO_USER_DIR") or user),
            )
        )

    @cached_property
    def version(self) -> str | None:
        """The database's version (a date, `20250606`), for reports; `A + B` when B lies over A; None without a database."""
        versions = []
        for folder in self._present:
            file = folder / "VERSION"
            readable = file.is_file() and os.access(file, os.R_OK)
            text = _head(file).decode(errors="replace") if readable else ""
            versions.append("".join(c for c in text.strip()[:40] if c.isprintable()) or "unversioned")
        return " + ".join(versions) or None

    def find(self, os_id: str, arch: str = "x86_64") -> OsinfoEntry | None:
        """What the database says of `os_id` on `arch`, or None; then `why_not` says why."""
        try:
            return self._entry(os_id, arch)
        except _UnreadableError:
            return None

    def why_not(self, os_id: str, arch: str = "x86_64") -> str | None:
        """Why `find` gives None, in one clause that says what to do; None if it does not."""
        if not self._present:
            looked = ", ".join(str(folder) for folder in self.folders)
            return f"no osinfo database in {looked}: install the package osinfo-db"
        try:
            if self._entry(os_id, arch) is not None:
                return None
        except _UnreadableError as fault:
            return str(fault)
        return f"osinfo-db {self.version} does not know {os_id}: osinfo-db-import --user --latest brings a newer one"

    @cached_property
    def _present(self) -> tuple[Path, ...]:
        # As libosinfo does, a folder that may not be read is passed over like one that is not there.
        return tuple(folder for folder in self.folders if os.access(folder / "os", os.R_OK | os.X_OK))

    def _entry(self, os_id: str, arch: str) -> OsinfoEntry | None:
        own = self._parts(os_id)
        if not own:
            return None
        family = list(self._relatives(os_id))
        try:
            return OsinfoEntry(
                id=os_id,
                short_ids=_texts(own, "short-id"),
                name=_text(own, "name") or os_id,
                vendor=_text(own, "vendor") or "unknown",
                version=_text(own, "version"),
                codename=_text(own, "codename"),
                family=_text(own, "family"),
                distro=_text(own, "distro"),
                release_status=_text(own, "release-status"),
                release_date=_day(own, "release-date"),
                end_of_life=_day(own, "eol-date"),
                minimum=_resources(family, "minimum", arch),
                recommended=_resources(family, "recommended", arch),
                devices=tuple(self._device(device) for device in _supported(family)),
                derives_from=_links(own, "derives-from"),
                clones=_links(own, "clones"),
                upgrades=_links(own, "upgrades"),
                sources=tuple(part.base or "" for part in own),
            )
        except (ValidationError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise _UnreadableError(f"{own[0].base}: {reason}") from error

    def _relatives(self, os_id: str) -> Iterator[tuple[etree._Element, ...]]:
        """The parts of a system, then of all it derives from, then of all it clones, nearest first (libosinfo's walk)."""
        waiting, seen = [os_id], set()
        while waiting:
            current = waiting.pop(0)
            if current in seen:
                continue
            seen.add(current)
            parts = self._parts(current)
            yield parts
            waiting = [*_links(parts, "derives-from"), *_links(parts, "clones"), *waiting]

    def _parts(self, os_id: str) -> tuple[etree._Element, ...]:
        """The `os` elements that describe one id: its file in the uppermost folder, then all extensions of it."""
        if os_id not in self._elements:
            named = _describing(os_id, self._named_files("os", os_id))
            self._elements[os_id] = named or _describing(os_id, self._index.get(os_id, ()))
        return self._elements[os_id]

    def _named_files(self, kind: str, entity_id: str) -> tuple[Path, ...]:
        """The files of an id by osinfo-db's rule: http://HOST/A/B is HOST/A-B.xml, extended by HOST/A-B.d/*.xml."""
        match = _ID.fullmatch(entity_id)
        if match is None or ".." in entity_id:
            return ()
        host, path = match.groups()
        stem = path.replace("/", "-")
        masters, extensions = [], []
        for folder in self._present:
            if (file := folder / kind / host / f"{stem}.xml").is_file():
                masters.append(file)
            extensions += sorted((folder / kind / host / f"{stem}.d").glob("*.xml"))
        return (*masters[-1:], *extensions)

    @cached_property
    def _index(self) -> dict[str, tuple[Path, ...]]:
        """Files by id, for those that do not follow the naming rule (private overlays). Reads all, so is the last resort."""
        index: dict[str, tuple[Path, ...]] = {}
        for folder in self._present:
            for file in sorted((folder / "os").rglob("*.xml")):
                for found in _OS_ELEMENT.findall(_head(file)):
                    index[found.decode(errors="replace")] = (file,)
        return index

    def _device(self, device_id: str) -> OsinfoDevice:
        if device_id not in self._devices:
            elements = [e for file in self._named_files("device", device_id) for e in _read(file).iterfind("device")]
            self._devices[device_id] = OsinfoDevice(
                id=device_id, name=_text(elements, "name"), kind=_text(elements, "class")
            )
        return self._devices[device_id]


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError as error:
        raise _UnreadableError(f"{file}: {error.strerror}") from error


def _read(file: Path) -> etree._Element:
    """The root of an XML file of the database.

    Raises _UnreadableError if it is not one. A file of the user's own may be hostile: nothing is fetched or expanded.
    """
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise _UnreadableError(f"{file}: larger than any osinfo-db file")
        root = etree.fromstring(file.read_bytes(), parser, base_url=str(file))
    except (OSError, etree.XMLSyntaxError) as error:
        raise _UnreadableError(f"{file}: {error}") from error
    if getattr(root.getroottree().docinfo, "doctype", None):
        raise _UnreadableError(f"{file}: has a document type, which osinfo-db files do not have")
    if root.tag != "libosinfo":
        raise _UnreadableError(f"{file}: is not an osinfo-db file, its root is {root.tag}")
    return root


def _describing(os_id: str, files: Sequence[Path]) -> tuple[etree._Element, ...]:
    elements = (element for file in files for element in _read(file).iterfind("os"))
    return tuple(element for element in elements if element.get("id") == os_id)


def _texts(parts: Sequence[etree._Element], tag: str) -> tuple[str, ...]:
    """The untranslated texts of all elements `tag`, without repetition."""
    lang = "{http://www.w3.org/XML/1998/namespace}lang"
    found = (e.text.strip() for part in parts for e in part.iterfind(tag) if e.text and e.get(lang) is None)
    return tuple(dict.fromkeys(text for text in found if text))


def _text(parts: Sequence[etree._Element], tag: str) -> str | None:
    return next(iter(_texts(parts, tag)), None)


def _links(parts: Sequence[etree._Element], tag: str) -> tuple[str, ...]:
    found = (e.get("id") for part in parts for e in part.iterfind(tag))
    return tuple(dict.fromkeys(link for link in found if link))


def _day(parts: Sequence[etree._Element], tag: str) -> date | None:
    text = _text(parts, tag)
    return date.fromisoformat(text) if text else None


def _supported(family: Sequence[Sequence[etree._Element]]) -> Iterator[str]:
    """Ids of the supported devices; of contradicting statements the nearest relative's counts."""
    verdicts: dict[str, bool] = {}
    for parts in family:
        for part in parts:
            for device in part.iterfind("devices/device"):
                if device_id := device.get("id"):
                    verdicts.setdefault(device_id, device.get("supported", "true") == "true")
    return (device_id for device_id, supported in verdicts.items() if supported)


def _resources(family: Sequence[Sequence[etree._Element]], kind: str, arch: str) -> OsinfoResources:
    """The `kind` (minimum, recommended) of resources for `arch`, else for all architectures.

    A `resources` element with `inherit` takes what it does not say from the nearest relative that says it.
    """
    values: dict[str, int] = {}
    for parts in family:
        own = [resources for part in parts for resources in part.iterfind("resources")]
        for_arch = [r for r in own if r.get("arch") == arch] or [r for r in own if r.get("arch") == _ARCH_OF_ALL]
        for resources in for_arch:
            for field, tag in (
                ("cpus", "n-cpus"),
                ("cpu_hz", "cpu"),
                ("ram_bytes", "ram"),
                ("storage_bytes", "storage"),
            ):
                if (text := resources.findtext(f"{kind}/{tag}")) is not None:
                    values.setdefault(field, int(text))
        if not any(resources.get("inherit") == "true" for resources in for_arch):
            break
    return OsinfoResources(**values)
