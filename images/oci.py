"""The layers of a container image that is one tar: what `docker save` writes, or an OCI image layout.

OCI image specification 1.1: image-layout.md, image-index.md, manifest.md, config.md.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images.faults import ImageFault
from images.manifest import file_digest
from images.model import Compression
from images.progress import Task
from images.unpack import unpack
from images.untrusted_tar import open_tar

_MAX_JSON = 4 * 1024**2
_MAX_MEMBERS = 10_000
_MAX_LAYERS = 256  # Docker's own limit is 127
_MAX_DEPTH = 4
MAGIC: tuple[tuple[bytes, Compression], ...] = (
    (b"\x1f\x8b", "gz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bz2"),
)
RATIO = 200
"""How many times its packed size a tar of files may have: real ones have 2 to 10 times, bombs thousands."""

_SMALL = 64 * 1024**2
"""What may always be unpacked to, whatever the ratio."""


def plain_tar(packed: Path, target: Path, limit: int, task: Task) -> None:
    """Move or unpack `packed`, a tar packed in any way or none, to `target`; `packed` is used up. Raises ImageFault."""
    with packed.open("rb") as file:
        head = file.read(6)
    compression = next((name for magic, name in MAGIC if head.startswith(magic)), None)
    if compression is None:
        packed.rename(target)
        return
    allowed = min(limit, max(_SMALL, RATIO * packed.stat().st_size))
    unpack(packed, compression, target, allowed, task)
    packed.unlink()


def layers_of(archive: Path, work: Path, limit: int, task: Task) -> list[Path]:
    """Unpack the layers, lowest first, into `work` as plain tars; together at most `limit` bytes.

    Each is compared with the digest that the image's configuration has for it. Raises ImageFault.
    """
    with open_tar(archive) as tar:
        return _Container.of(tar).take_layers(work, limit, task)


@dataclass(frozen=True)
class _Container:
    """An open container image."""

    tar: tarfile.TarFile
    files: Mapping[str, tarfile.TarInfo]

    @classmethod
    def of(cls, tar: tarfile.TarFile) -> _Container:
        files = {}
        for number, member in enumerate(tar, 1):
            if number > _MAX_MEMBERS:
                raise ImageFault(f"refused, has more than {_MAX_MEMBERS} files, which no container image has")
            files[posixpath.normpath(member.name)] = member
        return cls(tar, files)

    def take_layers(self, work: Path, limit: int, task: Task) -> list[Path]:
        """See `layers_of`."""
        names, configuration = self._from_layout() if "index.json" in self.files else self._from_docker()
        if configuration.get("architecture", "amd64") != "amd64":
            raise ImageFault(f"is for {configuration['architecture']!r}, not for amd64")
        wanted = _texts(_mapping(configuration.get("rootfs")).get("diff_ids"))
        if len(wanted) != len(names) or not 0 < len(names) <= _MAX_LAYERS:
            raise ImageFault(f"has {len(names)} layers and {len(wanted)} digests of layers")
        taken = []
        for number, (name, digest) in enumerate(zip(names, wanted, strict=True)):
            packed, plain = work / f"layer-{number}.packed", work / f"layer-{number}.tar"
            self._copy(name, packed)
            plain_tar(packed, plain, limit, task)
            limit -= plain.stat().st_size
            if f"sha256:{file_digest(plain, 'sha256')}" != digest:
                raise ImageFault(f"its layer {name} does not have the digest {digest}")
            if limit < 0:
                raise ImageFault("refused, its layers unpack to more than its entry allows (unpacked_gib)")
            taken.append(plain)
        return taken

    def _from_docker(self) -> tuple[list[str], Mapping[str, Any]]:
        images = self._json("manifest.json")
        if not isinstance(images, list) or len(images) != 1:
            count = len(images) if isinstance(images, list) else "no"
            raise ImageFault(f"must hold one container image, holds {count}")
        image = _mapping(images[0])
        return _texts(image.get("Layers")), _mapping(self._json(str(image.get("Config"))))

    def _from_layout(self) -> tuple[list[str], Mapping[str, Any]]:
        document = _mapping(self._json("index.json"))
        for _ in range(_MAX_DEPTH):
            if "manifests" not in document:
                break
            document = _mapping(self._blob(_chosen(document["manifests"])))
        layers = [_mapping(each) for each in _listed(document.get("layers"))]
        return [_blob_name(each) for each in layers], _mapping(self._blob(_mapping(document.get("config"))))

    def _blob(self, descriptor: Mapping[str, Any]) -> Any:
        """A JSON blob, compared with its digest."""
        name = _blob_name(descriptor)
        text = self._read(name)
        if hashlib.sha256(text).hexdigest() != name.rpartition("/")[2]:
            raise ImageFault(f"its {name} does not have that digest")
        return _parsed(text, name)

    def _json(self, name: str) -> Any:
        return _parsed(self._read(name), name)

    def _read(self, name: str) -> bytes:
        member = self._member(name)
        if member.size > _MAX_JSON:
            raise ImageFault(f"refused, its {name[:100]} has {member.size} bytes")
        opened = self.tar.extractfile(member)
        return opened.read(_MAX_JSON) if opened else b""

    def _copy(self, name: str, target: Path) -> None:
        opened = self.tar.extractfile(self._member(name))
        with target.open("wb") as file:
            if opened is not None:
                shutil.copyfileobj(opened, file)

    def _member(self, name: str) -> tarfile.TarInfo:
        """A regular file, or where one link leads: older Docker stores a layer that occurs twice once."""
        member = self.files.get(posixpath.normpath(name))
        if member is not None and member.issym():
            member = self.files.get(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
        if member is None or not member.isreg() or member.issparse():
            raise ImageFault(f"is not a container image: has no file {name[:100]!r}")
        return member


def _chosen(manifests: object) -> Mapping[str, Any]:
    """The one manifest for Linux on x86-64; build attestations have the platform unknown/unknown."""
    described = [_mapping(each) for each in _listed(manifests)]
    platforms = [(each, _mapping(each.get("platform") or {})) for each in described]
    fitting = [
        each for each, platform in platforms if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64")
    ]
    if not fitting:
        fitting = [each for each, platform in platforms if not platform]
    if len(fitting) != 1:
        raise ImageFault(f"must hold one container image for linux/amd64, holds {len(fitting)}")
    return fitting[0]


def _blob_name(descriptor: Mapping[str, Any]) -> str:
    algorithm, _, value = str(descriptor.get("digest")).partition(":")
    if algorithm != "sha256" or len(value) != 64 or not all(each in "0123456789abcdef" for each in value):
        raise ImageFault(f"is not a container image: {str(descriptor.get('digest'))[:100]!r} is no sha256 digest")
    return f"blobs/sha256/{value}"


def _parsed(text: bytes, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImageFault(f"is not a container image: its {name[:100]} is not JSON") from error


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ImageFault("is not a container image: its description has not the right form")
    return value


def _listed(value: object) -> Sequence[object]:
    if not isinstance(value, list) or len(value) > _MAX_LAYERS:
        raise ImageFault("is not a container image: its description has not the right form")
    return value


def _texts(value: object) -> list[str]:
    return [str(each) for each in _listed(value)]
