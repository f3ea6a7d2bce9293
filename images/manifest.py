"""What the cache remembers of an image: digests of its files, and the stamp under which each was last verified."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from images.faults import ImageFault
from images.words import KernelArgument, Sha256
from matrix.words import Id, Text

FileName = Literal["disk", "kernel", "initrd"]
FILE_NAMES: tuple[FileName, ...] = ("disk", "kernel", "initrd")

_CHUNK = 4 * 1024 * 1024


class Stamp(BaseModel):
    """What changes when a file's bytes change: size in bytes, mtime and ctime in ns, inode.

    The change time is part of it because, unlike the modification time, no program can set it back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """The stamp of `path` now. Raises OSError."""
        status = path.stat()
        return cls(size=status.st_size, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns, inode=status.st_ino)


class StoredFile(BaseModel):
    """One file of an image: its name in the image's folder, its digest, and the stamp of the last verification."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: FileName
    sha256: Sha256
    verified: Stamp

    @classmethod
    def record(cls, folder: Path, name: FileName, watch: Callable[[int, int], None] | None = None) -> StoredFile:
        """Hash a finished file, which is on the disk for good when this returns. Raises OSError."""
        path = folder / name
        with path.open("rb") as file:
            os.fsync(file.fileno())
        digest = file_digest(path, "sha256", watch)
        return cls(name=name, sha256=digest, verified=Stamp.of(path))

    def restamped(self, folder: Path) -> StoredFile:
        """The same file with the stamp it has now, after it was verified. Raises OSError."""
        return self.model_copy(update={"verified": Stamp.of(folder / self.name)})


class Manifest(BaseModel):
    """`keys/<key>.json`: which object a key stands for. Version 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    key: Sha256
    entry: Id
    kind: Literal["build", "url", "busybox", "pair", "rootfs", "install"]
    origin: Text
    folder: str | None = None
    """The `--matrix` folder whose entry it was made for, as an absolute path; None: the shipped catalogue's, or no one knows."""
    digest: Sha256 | None = None
    """Of all files together, where kernel and initrd are no part of the disk; else None, and the disk's stands for it."""
    kernel_from: Text | None = None
    """Whose kernel it is, if it is not the vendor's."""
    created: datetime
    format: Literal["qcow2", "raw"]
    virtual_size: Annotated[int, Field(gt=0)]
    root_device: KernelArgument
    seed: Literal["built-in", "cloud-init", "ignition", "none"]
    adjustments: tuple[str, ...]
    files: Annotated[tuple[StoredFile, ...], Field(min_length=1)]

    @property
    def disk(self) -> StoredFile:
        """The disk; its digest names the object."""
        return next(file for file in self.files if file.name == "disk")

    @property
    def name(self) -> str:
        """The digest that names the object, 64 hexadecimal digits."""
        return self.digest or self.disk.sha256

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.verified.size for file in self.files)

    def age_days(self, now: datetime | None = None) -> float:
        """Days since it was built or fetched."""
        return ((now or datetime.now(UTC)) - self.created).total_seconds() / 86400


def absolute(folder: Path) -> str:
    """`folder` as a manifest has it: absolute, without links, and text whatever bytes its name has."""
    return str(folder.resolve()).encode(errors="backslashreplace").decode()


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`, or None if there is none or it is not one (it is then as good as absent)."""
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return manifest if manifest.key == path.stem and any(file.name == "disk" for file in manifest.files) else None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write atomically and durably: after a power cut there is the old one or the new one. Raises OSError."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(manifest.model_dump(mode="json", exclude_none=True), indent=1))
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def joint_digest(files: Sequence[StoredFile]) -> str:
    """One digest for several files: that of lines "HEX  NAME" in the order of their names."""
    lines = "".join(f"{file.sha256}  {file.name}\n" for file in sorted(files, key=lambda file: file.name))
    return hashlib.sha256(lines.encode("ascii")).hexdigest()


def file_digest(path: Path, algorithm: str, watch: Callable[[int, int], None] | None = None) -> str:
    """Hexadecimal digest of a file; `watch(done, total)` is called in between, in bytes. Raises OSError."""
    total, done, digest = path.stat().st_size, 0, hashlib.new(algorithm)
    buffer = bytearray(_CHUNK)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
            done += count
            if watch:
                watch(done, total)
    return digest.hexdigest()


def damage(
    folder: Path, file: StoredFile, *, rehash: bool, watch: Callable[[int, int], None] | None = None
) -> str | None:
    """What is wrong with a stored file, or None. It is read in full if `rehash` or if its stamp changed."""
    path = folder / file.name
    try:
        now = Stamp.of(path)
        if now.size != file.verified.size:
            return f"{file.name} has {now.size} bytes instead of {file.verified.size}"
        if not rehash and now == file.verified:
            return None
        seen = file_digest(path, "sha256", watch)
    except FileNotFoundError:
        return f"{file.name} is missing"
    except OSError as error:
        if error.errno == errno.EIO:  # what a failing disk answers
            return f"{file.name} cannot be read: {error.strerror}"
        raise ImageFault(f"{path}: cannot be read: {error.strerror or error}") from error
    return None if seen == file.sha256 else f"{file.name} has sha256 {seen[:16]}... instead of {file.sha256[:16]}..."
