"""Fetch a small file, such as a list of checksums, as a whole and within one deadline."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

import httpx

from images.asking import CannotAsk, ask, asking
from images.faults import ImageFault
from images.fetch import local_file, shown_address

MAX_BYTES = 4 * 1024**2
"""No list of checksums or signature is larger than 4 MiB (that of all Ubuntu releases has 50 kB)."""


@dataclass(frozen=True)
class Fetched:
    """A small file, and where it really came from; `in_the_clear` if an https:// address led through an http:// one."""

    content: bytes
    address: str
    in_the_clear: bool = False


def fetch_small(name: str, address: str, deadline: float) -> Fetched:
    """What is at `address`: http(s)://, file:// or a path. `name` is whose it is, for messages.

    Not a byte is taken after `deadline` seconds, however slowly a server dribbles. Raises ImageFault.
    """
    if not address.startswith(("http://", "https://")):
        return Fetched(_read(name, local_file(name, address)), address)
    try:
        fetched = asyncio.run(_get(address, deadline))
    except TimeoutError as error:
        raise ImageFault(f"{name}: {shown_address(address)}: is not here after {deadline:g} s") from error
    except (httpx.HTTPError, CannotAsk) as error:
        raise ImageFault(f"{name}: {shown_address(address)}: {error or type(error).__name__}") from error
    return Fetched(_bounded(name, address, fetched.content), fetched.address, fetched.in_the_clear)


def _read(name: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(name, str(path), file.read(MAX_BYTES + 1))
    except OSError as error:
        raise ImageFault(f"{name}: {path}: {error.strerror or error}") from error


async def _get(address: str, deadline: float) -> Fetched:
    content = b""
    async with (
        asyncio.timeout(deadline),
        asking(timeout=None) as client,
        contextlib.aclosing(await ask(client, address)) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise httpx.HTTPError(f"the server answered {answer.status_code} {answer.reason_phrase}")
        async for piece in answer.aiter_raw():
            content += piece
            if len(content) > MAX_BYTES:
                break
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal() and len(content) <= MAX_BYTES and len(content) != int(length):
            raise httpx.HTTPError(f"the connection ended after {len(content)} of {length} bytes")
    # Whoever answers one step in the clear says where the next one leads, so the last step alone says nothing.
    steps = [each.url.scheme for each in (*answer.history, answer)]
    return Fetched(content, str(answer.url), steps[0] == "https" and "http" in steps)


def _bounded(name: str, address: str, content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise ImageFault(f"{name}: {shown_address(address)}: has more than {MAX_BYTES} bytes, which no such list has")
    return content
