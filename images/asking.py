"""Ask a server for what a vendor publishes; whatever is wrong before it answers is told in a few words."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class CannotAsk(Exception):
    """No server can be asked this; it will not get better by asking again."""


@asynccontextmanager
async def asking(timeout: httpx.Timeout | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client that follows redirects and takes bytes as they are published. Raises CannotAsk if this machine's proxy is none."""
    try:
        client = httpx.AsyncClient(follow_redirects=True, timeout=timeout, headers={"Accept-Encoding": "identity"})
    except ImportError as error:
        raise CannotAsk(
            f"a proxy that speaks SOCKS needs the Python package socksio: install it, or unset {_proxies()}"
        ) from error
    except (ValueError, httpx.InvalidURL) as error:
        raise CannotAsk(f"this machine's proxy is not understood: {error}; correct or unset {_proxies()}") from error
    async with client:
        yield client


async def ask(client: httpx.AsyncClient, address: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """The beginning of the answer, whose content is still to be read. Raises httpx.HTTPError and CannotAsk."""
    try:
        return await client.send(client.build_request("GET", address, headers=headers), stream=True)
    except httpx.ConnectError as error:
        raise httpx.ConnectError(f"{error or 'no connection'}{_perhaps_a_proxy()}") from error
    except (httpx.InvalidURL, ValueError, OverflowError) as error:
        raise CannotAsk(_told(error)) from error
    except ExceptionGroup as group:
        # Of several addresses of one name, asked side by side.
        known, others = group.split((ValueError, OverflowError, OSError))
        if known is None or others is not None:
            raise
        raise CannotAsk(_told(known.exceptions[0])) from group


def _told(error: BaseException) -> str:
    return f"it, or where it leads, is no address that can be asked: {str(error).rstrip('.')}{_perhaps_a_proxy()}"


def _perhaps_a_proxy() -> str:
    return f"; if that is this machine's proxy, correct or unset {names}" if (names := _proxies()) else ""


def _proxies() -> str:
    """The names of the variables that a proxy is taken from."""
    return ", ".join(sorted(name for name, value in os.environ.items() if name.lower() in _PROXIES and value))
