"""Open a tar archive whose maker nobody trusts.

tarfile believes what a header says and keeps all that it read; here is refused what no honest archive says, and
dropped what nobody asks for.
"""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images.faults import ImageFault

CAPABILITY = "SCHILY.xattr.security.capability"
"""The one extended attribute that is kept: a file's capabilities (capabilities(7))."""

_MAX_HEADERS = 1024 * 1024
"""Bytes in front of a member's content: headers for it and for what follows, long names, the map of a sparse file."""

MAX_PATH = 4095  # PATH_MAX of Linux without its final NUL
_MAX_NAME = 255  # NAME_MAX of Linux, and ext4's
_MAX_CAPABILITY = 64  # struct vfs_ns_cap_data has 24
_MAX_GLOBAL_FIELDS = 100  # git's archives have one
MAX_KEPT = 256 * 1024 * 1024
"""Bytes that names and maps of sparse files may take: half a million files with names of 100 characters have 50 MB."""

_PIECE = 128
"""Bytes that a pair of numbers of a sparse file's map takes."""


class _Bounded(io.BufferedReader):
    """Refuses to read more headers than `headers` bytes; None while content is read, as much as we ask for."""

    headers: int | None = None

    def read(self, size: int | None = -1) -> bytes:
        if self.headers is not None:
            if size is None or not 0 <= size <= self.headers:
                raise ImageFault(f"refused, has headers of more than {_MAX_HEADERS} bytes before one file")
            self.headers -= size
        return super().read(size)


class UntrustedTar(tarfile.TarFile):
    """A tar that is read member by member; `kept` bytes of memory are taken by their names and maps."""

    kept = 0

    def next(self) -> tarfile.TarInfo | None:
        """The next member. Raises ImageFault for one that is refused, and what tarfile raises for damage."""
        file = self.fileobj
        if not isinstance(file, _Bounded):
            raise TypeError("only open_tar opens it")
        file.headers = _MAX_HEADERS
        try:
            member = super().next()
        finally:
            file.headers = None
        if member is not None:
            self._check_kept(member)
            _check(member)
            _drop_unused(member)
        return member

    def _check_kept(self, member: tarfile.TarInfo) -> None:
        fields = self.pax_headers
        if len(fields) > _MAX_GLOBAL_FIELDS or sum(map(len, fields.values())) > _MAX_HEADERS:
            raise ImageFault("refused, has more global headers than any honest archive")
        self.kept += len(member.name) + len(member.linkname) + _PIECE * len(_pieces(member))
        if self.kept > MAX_KEPT:
            raise ImageFault(f"refused, its names and the maps of its sparse files take more than {MAX_KEPT} bytes")


def _pieces(member: tarfile.TarInfo) -> Sequence[tuple[int, int]]:
    """Offset and size of what is there of a sparse file."""
    return getattr(member, "sparse", None) or ()


def _check(member: tarfile.TarInfo) -> None:
    for text in (member.name, member.linkname):
        # Names may be any bytes.
        name = text.encode(errors="surrogateescape")
        longest = max(map(len, name.split(b"/")))
        if longest > _MAX_NAME or len(name) > MAX_PATH:
            length = longest if longest > _MAX_NAME else len(name)
            raise ImageFault(f"refused, has a name of {length} characters, {text[:40]!r}...")
        if b"\0" in name:
            raise ImageFault(f"refused, has the name {text[:100]!r}")
    shown = repr(member.name[:100])
    if member.size < 0:
        raise ImageFault(f"refused, {shown} has the size {member.size}")
    if not 0 <= member.mode < 2**32:
        raise ImageFault(f"refused, {shown} has the mode {member.mode}")
    if not math.isfinite(member.mtime):
        raise ImageFault(f"refused, {shown} has the time {member.mtime}")
    if len(member.pax_headers.get(CAPABILITY, "")) > _MAX_CAPABILITY:
        raise ImageFault(f"refused, {shown} has capabilities of more than {_MAX_CAPABILITY} bytes")
    end = 0
    for start, size in _pieces(member):
        # tarfile looks for ever for a place that no piece holds.
        if start < end or size < 0 or start + size > member.size:
            raise ImageFault(f"refused, {shown} is a sparse file whose pieces are not one after the other")
        end = start + size


def _drop_unused(member: tarfile.TarInfo) -> None:
    member.pax_headers = {name: each for name, each in member.pax_headers.items() if name == CAPABILITY}
    member.uname = member.gname = ""


@contextmanager
def open_tar(path: Path, kept: int = 0) -> Iterator[UntrustedTar]:
    """Open a tar that is not packed and that nobody trusts; whatever is wrong with it becomes an ImageFault.

    `kept` is what members of other archives take already.
    """
    try:
        with (
            _Bounded(io.FileIO(path)) as file,
            UntrustedTar.open(fileobj=file, mode="r:", errors="surrogateescape") as tar,
        ):
            tar.kept += kept
            yield tar
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise ImageFault(f"is not a whole tar file: {error}") from error
