"""The kinds of text that matrix data may hold; each says in one clause what is allowed."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_ID = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_PROBE = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*")
_FEATURE = re.compile(r"[a-z][a-z0-9_]*")
_GLOB = re.compile(r"[a-z0-9._+/!*?\[\]-]+")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://[!-~]*")
_PRINTABLE_WORD = re.compile(r"[!-~]+")
_NETWORK = re.compile(r"[!-~]+(?: [!-~]+)*")
_PATH = re.compile(r"(?:/[A-Za-z0-9@_.+-]+)+")
_OS_RELEASE_KEY = re.compile(r"[A-Z][A-Z0-9_]*")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_PARTIAL_DAY = re.compile(r"[0-9]{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12][0-9]|3[01]))?)?")

# Right-to-left overrides and the like make a report say something else than its bytes (CVE-2021-42574).
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_id(value: str) -> str:
    """An id: part of permanent cell ids, of folder names and of Allure identities.

    Raises ValueError.
    """
    if len(value) > 63 or ".." in value or not _ID.fullmatch(value):
        raise ValueError("must be an id: at most 63 of a-z, 0-9 and single '.', '-', '_' between them")
    return value


def check_text(value: str) -> str:
    """One line of free text.

    Raises ValueError.
    """
    if not value.strip():
        raise ValueError("must not be empty")
    if len(value) > 2000:
        raise ValueError(f"must have at most 2000 characters, has {len(value)}")
    for character in value:
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or character in _BIDI:
            raise ValueError(f"must be one line of text without control characters, has U+{ord(character):04X}")
    return value


def check_probe(value: str) -> str:
    """A probe id, `<area>/<name>`.

    Raises ValueError.
    """
    if len(value) > 127 or not _PROBE.fullmatch(value):
        raise ValueError("must be a probe id <area>/<name> of a-z, 0-9 and '_'")
    return value


def check_glob(value: str) -> str:
    """A glob over ids.

    Raises ValueError.
    """
    if len(value) > 200 or not _GLOB.fullmatch(value):
        raise ValueError("must be a glob of a-z, 0-9, '.', '-', '_', '+', '/', '*', '?' and [...]")
    return value


def matching(pattern: re.Pattern[str], allowed: str, limit: int | None = None) -> AfterValidator:
    """A validator for text that is all `pattern`, and of at most `limit` characters where the pattern does not say."""

    def check(value: str) -> str:
        if (limit is not None and len(value) > limit) or not pattern.fullmatch(value):
            raise ValueError(f"must be {allowed}" + (f", at most {limit} characters" if limit is not None else ""))
        return value

    return AfterValidator(check)


def _check_path(value: str) -> str:
    if len(value) > 255 or not _PATH.fullmatch(value) or {".", ".."} & set(value.split("/")):
        raise ValueError("must be an absolute path of a-z, A-Z, 0-9 and '@_.+-' without '.' or '..' parts")
    return value


def _check_regular_expression(value: str) -> str:
    try:
        re.compile(check_text(value))
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from error
    return value


def _as_day(value: object) -> object:
    # pydantic alone takes "1830297600" for a date, even when strict.
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) and len(value) == len("YYYY-MM-DD") else "")
    except ValueError as error:
        raise ValueError("must be a date YYYY-MM-DD") from error


def _as_tuple(value: object) -> object:
    # A tuple, not a list: after a before-validator pydantic's strict mode no longer takes lists for tuples.
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Day = Annotated[date, BeforeValidator(_as_day)]
Id = Annotated[str, AfterValidator(check_id)]
Text = Annotated[str, AfterValidator(check_text)]
ProbeId = Annotated[str, AfterValidator(check_probe)]
Glob = Annotated[str, AfterValidator(check_glob)]
# A single glob may be written without the list's brackets.
Globs = Annotated[tuple[Glob, ...], BeforeValidator(_as_tuple)]
Feature = Annotated[str, matching(_FEATURE, "a feature name of a-z, 0-9 and '_'", 63)]
UserName = Annotated[str, matching(_USER, "a user name", 32)]
Uri = Annotated[str, matching(_URI, "an address SCHEME://... without spaces", 1000)]
Word = Annotated[str, matching(_PRINTABLE_WORD, "one word of printable ASCII", 500)]
NetworkName = Annotated[str, matching(_NETWORK, "a network's name of printable ASCII, with single spaces inside", 255)]
AbsolutePath = Annotated[str, AfterValidator(_check_path)]
OsReleaseKey = Annotated[str, matching(_OS_RELEASE_KEY, "an os-release key of A-Z, 0-9 and '_'", 63)]
VariableName = Annotated[str, matching(_VARIABLE, "an environment variable's name of A-Z, 0-9 and '_'", 63)]
RegularExpression = Annotated[str, AfterValidator(_check_regular_expression)]
PartialDay = Annotated[str, matching(_PARTIAL_DAY, "a date YYYY, YYYY-MM or YYYY-MM-DD, in quotes")]
