"""Decompress a disk image that its vendor publishes packed: as a stream, into a sparse file, up to a limit.

What is unpacked has the right digest already; the limits are for the vendor's mistakes and for entries that were
pinned without looking. A name inside an archive is never used as a path.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from images.command import find
from images.faults import ImageFault
from images.model import Compression
from images.progress import Task

_CHUNK = 1024 * 1024
_HOLE = bytes(_CHUNK)
# xz -9 needs 65 MiB and nothing larger is in use; a header may ask for 4 GiB (xz(1), "Memory usage").
_XZ_MEMORY = 256 * 1024**2
# zstd -19 and --long make windows of up to 128 MiB (zstd(1), --long); more is only decompressed when asked for.
_ZSTD_MEMORY = "128MB"


def unpack(packed: Path, compression: Compression, target: Path, limit: int, task: Task) -> None:
    """Write the content of `packed` to `target`, at most `limit` bytes. Runs of zeros become holes.

    Raises ImageFault if `packed` is damaged, holds anything but one file, or more than `limit` bytes; OSError when
    the disk is full.
    """
    done = 0
    try:
        with target.open("wb") as file, closing(_content(packed, compression, limit)) as content:
            for piece in content:
                done += len(piece)
                if done > limit:
                    raise ImageFault(f"refused, unpacks to more than {limit} bytes")
                if piece == _HOLE[: len(piece)]:
                    file.seek(len(piece), 1)
                else:
                    file.write(piece)
                task.advance(done, None)
            file.truncate(done)
    except (lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
        raise ImageFault(f"is not a whole {compression} file: {error}") from error
    if not done:
        raise ImageFault(f"is not a whole {compression} file: nothing is in it")


def _content(packed: Path, compression: Compression, limit: int) -> Generator[bytes, None, None]:
    if compression == "zip":
        return _from_zip(packed, limit)
    if compression == "zst":
        return _from_zstd(packed)
    if compression == "gz":
        return _pieces(lambda: gzip.open(packed, "rb"))
    if compression == "bz2":
        return _streams(packed, bz2.BZ2Decompressor)
    return _streams(packed, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY))


class _Decompressor(Protocol):
    """What bz2 and lzma offer alike."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _streams(packed: Path, fresh: Callable[[], _Decompressor]) -> Generator[bytes, None, None]:
    """The content of all streams in a file one after the other, as parallel compressors write them."""
    with packed.open("rb") as file:
        decoder, data = fresh(), file.read(_CHUNK)
        while True:
            try:
                piece = decoder.decompress(data, _CHUNK)
            except OSError as error:  # bz2's word for damaged data
                raise ImageFault(f"is not a whole compressed file: {error}") from error
            if piece:
                yield piece
            data = b""
            if decoder.eof:
                # Streams may be padded with zeros.
                data = decoder.unused_data.lstrip(b"\0")
                while not data and (more := file.read(_CHUNK)):
                    data = more.lstrip(b"\0")
                if not data:
                    return
                decoder = fresh()
            elif decoder.needs_input and not (data := file.read(_CHUNK)):
                raise EOFError("it ends in the middle")


def _pieces(opened: Callable[[], BinaryIO | gzip.GzipFile]) -> Generator[bytes, None, None]:
    with opened() as file:
        while piece := file.read(_CHUNK):
            yield piece


def _from_zip(packed: Path, limit: int) -> Generator[bytes, None, None]:
    try:
        yield from _zip_member(packed, limit)
    except UnicodeDecodeError as error:
        raise zipfile.BadZipFile(f"a name in it is not UTF-8, as it says: {error}") from error
    except OSError as error:
        # bz2's word for damaged data has no number; places in front of the file are invalid arguments.
        if error.errno not in {None, errno.EINVAL}:
            raise
        raise zipfile.BadZipFile(str(error)) from error


def _zip_member(packed: Path, limit: int) -> Generator[bytes, None, None]:
    with zipfile.ZipFile(packed) as archive:
        for each in archive.infolist():
            path = PurePosixPath(each.filename.replace("\\", "/"))
            if not each.filename or path.is_absolute() or ".." in path.parts:
                raise ImageFault(f"refused, holds the path {each.filename[:80]!r}")
        files = [each for each in archive.infolist() if not each.is_dir()]
        if len(files) != 1:
            names = ", ".join(repr(each.filename[:80]) for each in files[:5])
            raise ImageFault(f"refused, must hold one file and holds {len(files)} ({names})")
        (member,) = files
        if member.flag_bits & 1:
            raise ImageFault("refused, is encrypted")
        if member.file_size > limit:
            raise ImageFault(f"refused, says that it unpacks to {member.file_size} bytes, allowed are {limit}")
        with archive.open(member) as file:
            while piece := file.read(_CHUNK):
                yield piece


def _from_zstd(packed: Path) -> Generator[bytes, None, None]:
    """Through the zstd program, which is killed when this process dies or stops reading."""
    argv = [find("zstd"), "--decompress", "--stdout", "--quiet", f"--memory={_ZSTD_MEMORY}", "--", str(packed)]
    full = [find("setpriv"), "--pdeathsig", "KILL", "--", *argv]
    with subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("pipes were asked for")
        finished = False
        try:
            while piece := process.stdout.read(_CHUNK):
                yield piece
            finished = True
        finally:
            if not finished:
                process.kill()
        errors = process.stderr.read(4096).decode(errors="replace").strip()
        if process.wait() != 0:
            raise ImageFault(f"is not a whole zst file: {errors}")
