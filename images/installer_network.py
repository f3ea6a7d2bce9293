"""The network as an installer in QEMU's user-mode network has it: this machine's own, and this machine under another name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from images.command import run
from images.faults import ImageFault

_HOST_FOR_GUESTS = "10.0.2.2"
"""Where QEMU's user-mode network has the machine that it runs on (qemu-system(1), -netdev user)."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class InstallerNetwork:
    """How packages get to this machine. None of it decides what comes out: they are the same packages from elsewhere."""

    mirror: str | None
    proxy: str | None

    @classmethod
    def of_this_machine(cls, suite: str | None) -> Self:
        """Where its apt has Debian's `suite` from, if it has, and its proxy for http://."""
        mirror = None if suite is None else mirror_of_apt(suite)
        return cls(seen_from_guest(mirror), seen_from_guest(proxy_of(os.environ)))


def seen_from_guest(address: str | None) -> str | None:
    """An address on this machine's loopback as its guest reaches it; any other as it is. Raises ImageFault if it is none."""
    if address is None:
        return None
    try:
        parts = urlsplit(address)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError as error:
        raise ImageFault(f"this machine's mirror or proxy is not understood: {error}; correct or unset it") from error
    if parts.hostname not in _LOOPBACK:
        return address
    return urlunsplit(parts._replace(netloc=f"{_HOST_FOR_GUESTS}{port}"))


def mirror_of_apt(suite: str) -> str | None:
    """Where this machine's apt has Debian's `suite` from; None: nowhere that a network leads to."""
    wanted = ["Created-By: Packages", f"Codename: {suite}", "Component: main", "Origin: Debian", "Label: Debian"]
    try:
        found = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted]).split()
    except ImageFault:  # no apt here
        return None
    return next((address for address in found if address.startswith(("http://", "https://"))), None)


def proxy_of(environment: Mapping[str, str]) -> str | None:
    """The proxy for http:// of this machine: from the environment, or else apt's own."""
    return environment.get("http_proxy") or environment.get("HTTP_PROXY") or _proxy_of_apt() or None


def _proxy_of_apt() -> str:
    try:
        said = run(["apt-config", "dump", "--format", "%v%n", "Acquire::http::Proxy"]).strip()
    except ImageFault:  # no apt here, no settings of it
        return ""
    return "" if said == "DIRECT" else said
