"""Text that came from a guest, made safe to print, store and show: bounded, valid Unicode, no control sequences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator

# ECMA-48 control sequences (CSI), operating system commands (OSC .. BEL or ST), and the two-character escapes.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
# C0 but tab and newline, DEL, C1, lone surrogates, non-characters, bidirectional overrides (they reorder what a reader sees).
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_CUT = " … (cut)"


def clean(value: object, limit: int = 20_000) -> str:
    """`value` as text of at most `limit` characters; each unsafe character becomes U+FFFD, newlines and tabs stay.

    Cleaning twice changes nothing.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    # Two passes over a bounded prefix: nobody waits for a regular expression over a gigabyte of console.
    text = text[: limit * 4 + 1]
    text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _UNSAFE.sub("\ufffd", text)
    return text if len(text) <= limit else text[: limit - len(_CUT)].rstrip() + _CUT


def one_line(value: object, limit: int = 500) -> str:
    """`clean` text with every run of white space as one blank."""
    return clean(" ".join(clean(value, limit * 2).split()), limit).strip()


Line = Annotated[str, BeforeValidator(one_line)]
"""A field of one line, at most 500 characters."""

Text = Annotated[str, BeforeValidator(clean)]
"""A field of several lines, at most 20,000 characters."""

PathText = Annotated[str, BeforeValidator(lambda value: clean(value, 4096))]
"""A relative path, at most PATH_MAX characters."""


_SECRET_OPTION = re.compile(r"(?i)^(--?[\w-]*(?:password|passwd|secret|token|credential|api-?key)[\w-]*)(=.*)?$")
_SECRET_ASSIGNMENT = re.compile(r"(?i)\b([\w.-]*(?:password|passwd|secret|token|credential|api_?key)[\w.-]*)=(\S+)")
_SECRET_IN_URI = re.compile(r"([a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s@]+@", re.IGNORECASE)


def without_secrets(arguments: Sequence[str]) -> tuple[str, ...]:
    """A command line with the values of secret-looking options, assignments and URI passwords replaced by `***`."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        if hide_next and not argument.startswith("-"):
            shown.append("***")
            hide_next = False
            continue
        hide_next = False
        option = _SECRET_OPTION.match(argument)
        if option:
            shown.append(f"{option[1]}=***" if option[2] else option[1])
            hide_next = not option[2]
        else:
            shown.append(_SECRET_IN_URI.sub(r"\1:***@", _SECRET_ASSIGNMENT.sub(r"\1=***", argument)))
    return tuple(shown)
