"""The kinds of text an image catalogue may hold; each says in one clause what is allowed.

Every text that ends up in a command, a path or a guest's file is restricted here, at the border, so that nothing
below has to distrust it again.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from matrix.words import matching

# Debian policy 5.6.1; apt's own suffixes (":arch", "/suite", "+", "-") are not offered.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,126}[a-z0-9+.]")
_SUITE = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@-]{0,120}\.[a-z]{1,16}")
_MODULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_KERNEL_ARGUMENT = re.compile(r"[A-Za-z0-9_.,:=/@+-]{1,255}")
_MIRROR = re.compile(r"(?:https?|file|copy)://[A-Za-z0-9_.,:/@~+%\[\]-]{1,1000}")
_URL = re.compile(r"(?=https?://|file://(?:localhost)?/|(?!\w+://))[!-~]{1,2000}")
_MODE = re.compile(r"[0-7]{4}")


def _check_some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must be a list of at least 1")
    return value


def _check_content(value: str) -> str:
    if len(value) > 64 * 1024:
        raise ValueError("must be at most 64 KiB")
    return value


def _check_host(value: str) -> str:
    try:
        urlsplit(value).port  # noqa: B018 -- host and port are only looked at when they are asked for
    except ValueError as error:
        raise ValueError(f"must be an address whose host and port can be read: {error}") from error
    return value


Some = AfterValidator(_check_some)
"""Not pydantic's own minimum, which is also complained about when the one item is at fault."""
GeneratorName = Annotated[str, matching(_MODULE, "a generator's file name of letters, digits, '_' and '-'")]
PackageName = Annotated[str, matching(_PACKAGE, "a package name of a-z, 0-9 and '+.-'")]
SuiteName = Annotated[str, matching(_SUITE, "a suite or component name of a-z, 0-9 and '.-'")]
UnitName = Annotated[str, matching(_UNIT, "a systemd unit name with its suffix")]
ModuleName = Annotated[str, matching(_MODULE, "a kernel module name of letters, digits, '_' and '-'")]
KernelArgument = Annotated[str, matching(_KERNEL_ARGUMENT, "one kernel argument of letters, digits and '_.,:=/@+-'")]
Mirror = Annotated[
    str,
    matching(_MIRROR, "an address http://, https://, file:// or copy:// without spaces"),
    AfterValidator(_check_host),
]
ImageAddress = Annotated[
    str,
    matching(_URL, "an address http://, https:// or file:///, or a path, of printable ASCII without spaces"),
    AfterValidator(_check_host),
]
KeyFile = Annotated[
    str, matching(re.compile(r"[a-z0-9][a-z0-9._-]{0,59}\.asc"), "a file name of a-z, 0-9 and '._-' that ends in .asc")
]
KeyFingerprint = Annotated[str, matching(re.compile(r"[0-9A-F]{40}"), "40 hexadecimal digits in capitals")]
ProductName = Annotated[
    str, matching(re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()-]{0,99}"), "a product's name of letters, digits and ' ._()-'")
]
ProductKey = Annotated[str, matching(re.compile(r"[A-Z0-9]{5}(?:-[A-Z0-9]{5}){4}"), "five groups of five A-Z, 0-9")]
FileName = Annotated[str, matching(re.compile(r"[!-.0-~]{1,255}"), "a file's name without its folder")]
FileMode = Annotated[str, matching(_MODE, "a file mode of four octal digits")]
FileContent = Annotated[str, AfterValidator(_check_content)]
Sha256 = Annotated[str, matching(re.compile(r"[0-9a-f]{64}"), "64 lower-case hexadecimal digits")]
Sha512 = Annotated[str, matching(re.compile(r"[0-9a-f]{128}"), "128 lower-case hexadecimal digits")]
