"""Make one image in a work folder, whatever form it comes in: `disk`, and `kernel` and `initrd` where they are apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from images.build import BUILD_VERSION, build
from images.disk import empty_disk
from images.faults import ImageFault
from images.fetch import fetch
from images.forms import BusyboxEntry, InstallEntry, Obtainable, PairEntry, PublishedFile, RootfsEntry
from images.initramfs import write_minimal
from images.install import INSTALL_VERSION, answers_digest, build_installed
from images.kernel_parts import open_kernel_parts
from images.keys import IdentityKeys
from images.model import PlannedBuild, PublishedEntry, UrlEntry
from images.opening import open_up
from images.rootfs import ROOTFS_VERSION, build_rootfs
from images.workplace import Workplace

BUSYBOX_VERSION = 1
"""Part of such an image's key: raise it when the code or the scripts change what comes out."""


@dataclass(frozen=True)
class Made:
    """What the making of an image found out about it; `apart`: kernel and initrd are no part of the disk."""

    format: Literal["qcow2", "raw"]
    root_device: str
    seed: Literal["built-in", "cloud-init", "ignition", "none"]
    adjustments: tuple[str, ...] = ()
    apart: bool = False
    kernel_from: str | None = None


def kind_of(source: Obtainable) -> Literal["build", "url", "busybox", "pair", "rootfs", "install"]:
    """The entry's kind."""
    return "build" if isinstance(source, PlannedBuild) else source.kind


def origin_of(source: Obtainable) -> str:
    """Who publishes the bytes, as the entry says, and where their digest was read."""
    if isinstance(source, PlannedBuild):
        return source.entry.origin
    return source.provenance if isinstance(source, PublishedEntry) else source.origin


def decides(source: Obtainable, keys: IdentityKeys) -> object:
    """Everything that decides what comes out, as JSON: entry, recipe, keys, version of the code."""
    mine = [keys.client.public, keys.host.public]
    if isinstance(source, UrlEntry):
        packed = [] if source.compression == "none" else [source.compression]
        return ["url", source.sha256 or source.sha512, source.format, *packed]
    if isinstance(source, PlannedBuild):
        # Without defaults, so that a new optional field does not make every image anew.
        return ["build", BUILD_VERSION, source.model_dump(mode="json", exclude_defaults=True), mine]
    fields = source.model_dump(mode="json", exclude_defaults=True, exclude={"name", "digest_from", "checksums"})
    described = _without_addresses(fields)
    if isinstance(source, BusyboxEntry):
        return ["busybox", BUSYBOX_VERSION, described]
    if isinstance(source, RootfsEntry):
        return ["rootfs", ROOTFS_VERSION, described, mine]
    if isinstance(source, InstallEntry):
        return ["install", INSTALL_VERSION, described, answers_digest(source, keys)]
    return ["pair", described]


def make(source: Obtainable, place: Workplace) -> Made:
    """Make the image of `source`. Raises ImageFault; OSError when the disk is full."""
    if isinstance(source, UrlEntry):
        return _fetched(source, place)
    if isinstance(source, PairEntry):
        return _pair(source, place)
    try:
        if isinstance(source, PlannedBuild):
            root_device = build(source, place.key, place.keys, place.work, place.report)
            return Made("qcow2", root_device, source.recipe.seed, source.adjustments())
        if isinstance(source, BusyboxEntry):
            return _busybox(source, place)
        if isinstance(source, InstallEntry):
            installed = build_installed(source, place)
            return Made("qcow2", installed.root_device, "built-in", installed.adjustments)
        return _rootfs(source, place)
    except ImageFault as fault:
        said = str(fault)
        raise ImageFault(said if said.startswith(f"{source.id}: ") else f"{source.id}: {said}") from fault


def _fetched(source: UrlEntry, place: Workplace) -> Made:
    ready = place.work / "disk"
    plain = source.compression == "none" and source.format in {"qcow2", "raw"}
    fetched = ready if plain else place.work / "fetched"
    fetch(source, place.partial_of(""), fetched, place.report)
    disk_format: Literal["qcow2", "raw"] = "raw" if source.format == "raw" else "qcow2"
    if not plain:
        open_up(source, fetched, ready, place.report)
    return Made(disk_format, source.root_device, source.seed)


def _pair(source: PairEntry, place: Workplace) -> Made:
    for name, file in (("kernel", source.kernel), ("initrd", source.initrd)):
        fetch(_as_entry(source, file), place.partial_of(f"{name}."), place.work / name, place.report)
    empty_disk(place.work / "disk", source.disk_gib)
    return Made("qcow2", source.root_device, "none", apart=True)


def _as_entry(source: PairEntry, file: PublishedFile) -> PublishedEntry:
    return PublishedEntry(
        id=source.id, name=source.name, origin=source.origin, url=file.url, sha256=file.sha256, sha512=file.sha512
    )


def _busybox(source: BusyboxEntry, place: Workplace) -> Made:
    with place.report.task(f"{source.id}: fetching {source.kernel.package} and busybox-static"):
        parts = open_kernel_parts(source.kernel, place.work, place.work / "build.log")
    with place.report.task(f"{source.id}: writing the initramfs"), parts.tar:
        (place.work / "kernel").write_bytes(parts.read(parts.kernel))
        write_minimal(place.work / "initrd", parts, source.modules, source.id)
    empty_disk(place.work / "disk", source.disk_gib)
    return Made("qcow2", "/dev/ram0", "built-in", source.adjustments(), apart=True)


def _rootfs(source: RootfsEntry, place: Workplace) -> Made:
    fetched = place.work / "fetched"
    fetch(source, place.partial_of(""), fetched, place.report)
    made = build_rootfs(source, fetched, place)
    return Made("qcow2", made.root_device, "built-in", made.adjustments, kernel_from=made.kernel_from)


def _without_addresses(described: dict[str, Any]) -> dict[str, Any]:
    """What an entry says without where its files come from: they are named by their digests."""
    return {
        name: _without_addresses(value) if isinstance(value, dict) else value
        for name, value in described.items()
        if name not in {"url", "minutes"}
    }


def described(decided: object) -> str:
    """`decides` as text that is the same for the same content."""
    return json.dumps(decided, sort_keys=True)
