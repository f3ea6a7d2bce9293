"""Bring a ready image from a path or an http(s) address into a work folder, verified by its digest.

A download goes into a partial file that survives an interruption and is resumed by a range request; whatever a
server sends, only bytes with the declared digest leave this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import stat
from pathlib import Path
from time import monotonic
from urllib.parse import unquote, urlsplit

import httpx
from pydantic import TypeAdapter

from images.asking import CannotAsk, ask, asking
from images.faults import ImageFault
from images.manifest import file_digest
from images.model import PublishedEntry
from images.progress import Reporter, Task
from images.words import ImageAddress

MAX_BYTES = 64 * 1024**3
"""No image file is larger than 64 GiB; a server that sends more is not believed."""

_ATTEMPTS = 3
# A server may be slow, but must send something every half minute, and in every minute as much as an old modem would:
# one that dribbles a byte now and then (slow loris) would keep a run for ever.
_TIMEOUT = httpx.Timeout(30.0)
_MINUTE = 60.0
_LEAST_A_MINUTE = 256 * 1024


def fetch(entry: PublishedEntry, partial: Path, target: Path, report: Reporter) -> None:
    """Put the image of `entry` at `target`. `partial` is where an unfinished download is kept.

    The caller holds a lock, so nobody else writes `partial`. Raises ImageFault; OSError when the disk is full.
    """
    if entry.url.startswith(("http://", "https://")):
        with report.task(f"{entry.id}: downloading {shown_address(entry.url)}") as task:
            asyncio.run(_download(entry, partial, task))
        _verify(entry, partial, report, forget=True)
        partial.replace(target)
        return
    source = local_file(entry.id, entry.url)
    with report.task(f"{entry.id}: copying {source}"):
        _copy(source, target)
    _verify(entry, target, report, forget=False)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its holes (lseek(2), SEEK_DATA): a raw disk is mostly holes."""
    with source.open("rb") as reading, target.open("wb") as writing:
        size, at = os.fstat(reading.fileno()).st_size, 0
        while at < size and (at := _next_data(reading.fileno(), at)) < size:
            end = os.lseek(reading.fileno(), at, os.SEEK_HOLE)
            os.lseek(writing.fileno(), at, os.SEEK_SET)
            while at < end and (sent := os.sendfile(writing.fileno(), reading.fileno(), at, end - at)):
                at += sent
            if at < end:
                break  # it became shorter meanwhile
        writing.truncate(size)


def _next_data(descriptor: int, at: int) -> int:
    """Where data begins from `at` on; at the end of the file if there is none."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.lseek(descriptor, 0, os.SEEK_END)


def local_file(name: str, address: str) -> Path:
    """The regular file that a path or a file:// address of the entry `name` leads to. Raises ImageFault."""
    parts = urlsplit(address)
    if parts.scheme not in {"", "file"} or parts.netloc not in {"", "localhost"}:
        raise ImageFault(
            f"{name}: cannot fetch {shown_address(address)}; allowed are http://, https://, file:/// and paths"
        )
    source = Path(unquote(parts.path) if parts.scheme else address)
    try:
        if not stat.S_ISREG(source.stat().st_mode):
            raise ImageFault(f"{name}: {source} is not a regular file")
    except OSError as error:
        raise ImageFault(f"{name}: {source}: {error.strerror or error}") from error
    return source


def own_file(name: str, path: Path) -> Path:
    """The regular file at the absolute `path` that an entry `name` is to be written for, if an entry can hold it. Raises ImageFault."""
    found = local_file(name, str(path))
    try:
        TypeAdapter(ImageAddress).validate_python(str(found))
    except ValueError as error:
        raise ImageFault(f"{found}: its path must be printable ASCII without spaces") from error
    return found


def _verify(entry: PublishedEntry, path: Path, report: Reporter, *, forget: bool) -> None:
    algorithm, expected = ("sha256", entry.sha256) if entry.sha256 else ("sha512", entry.sha512)
    with report.task(f"{entry.id}: checking {algorithm}") as task:
        seen = file_digest(path, algorithm, task.advance)
    if seen != expected:
        size = path.stat().st_size
        if forget:
            path.unlink()
        raise ImageFault(
            f"{entry.id}: {shown_address(entry.url)} has {algorithm} {seen} ({size} bytes), the catalogue says {expected}; not used"
        )


async def _download(entry: PublishedEntry, partial: Path, task: Task) -> None:
    try:
        async with asking(_TIMEOUT) as client:
            failure = await _try(client, entry, partial, task)
    except (_Refused, CannotAsk) as refused:
        raise ImageFault(f"{entry.id}: {shown_address(entry.url)}: {refused}") from refused
    if failure:
        kept = partial.stat().st_size if partial.exists() else 0
        resume = f"; {kept} bytes are kept and the next try goes on from there" if kept else ""
        raise ImageFault(f"{entry.id}: {shown_address(entry.url)}: {failure}{resume}")


async def _try(client: httpx.AsyncClient, entry: PublishedEntry, partial: Path, task: Task) -> str:
    """Download as often as it gets on; why it failed in the end, or nothing."""
    failure = ""
    for _ in range(_ATTEMPTS):
        before = partial.stat().st_size if partial.exists() else 0
        try:
            await _receive(client, entry, partial, before, task)
            return ""
        except httpx.HTTPError as error:
            failure = str(error) or type(error).__name__
    return failure


class _Refused(Exception):
    """The server's answer will not get better by asking again."""


async def _receive(client: httpx.AsyncClient, entry: PublishedEntry, partial: Path, have: int, task: Task) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        # The time between two bytes is bounded by the client; that of a whole header, which can be dribbled too, is not.
        async with asyncio.timeout(_MINUTE):
            answer = await ask(client, entry.url, headers)
    except TimeoutError as error:
        raise _Refused(
            f"the server did not begin to send within {_MINUTE:g} s; try again, or another mirror"
        ) from error
    async with contextlib.aclosing(answer):
        if have and answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Everything is here already, or it belongs to an older file: the digest decides which.
            return
        if answer.status_code not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
            if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
                raise httpx.HTTPError(f"the server answered {answer.status_code} {answer.reason_phrase}")
            raise _Refused(f"the server answered {answer.status_code} {answer.reason_phrase}")
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _Refused("the server answered with another range than was asked for")
        start = have if resumed else 0
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        _room(partial, start, total)
        await _write(answer, partial, start, total, task)


def _room(partial: Path, start: int, total: int | None) -> None:
    if total is not None and total > MAX_BYTES:
        raise _Refused(f"the server announces {total} bytes, allowed are {MAX_BYTES}")
    free = shutil.disk_usage(partial.parent).free
    if total is not None and total - start > free:
        raise _Refused(f"needs {total - start} bytes, {partial.parent} has {free} free")


async def _write(answer: httpx.Response, partial: Path, start: int, total: int | None, task: Task) -> None:
    done = start
    since, before = monotonic(), start
    with partial.open("ab" if start else "wb") as file:
        # As it comes, so that an interruption loses nothing of what was received.
        async for chunk in answer.aiter_raw():
            done += len(chunk)
            if done > MAX_BYTES:
                raise _Refused(f"the server sends more than {MAX_BYTES} bytes")
            file.write(chunk)
            task.advance(done, total)
            if monotonic() - since > _MINUTE:
                if done - before < _LEAST_A_MINUTE:
                    raise _Refused(
                        f"the server sent {done - before} bytes in {_MINUTE:g} s; try again, or another mirror"
                    )
                since, before = monotonic(), done
    if total is not None and done != total:
        raise httpx.HTTPError(f"the connection ended after {done} of {total} bytes")


def shown_address(url: str) -> str:
    """`url` without a password or a signed query in it, for messages."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
