"""/etc/os-release, parsed as os-release(5) says: shell assignments without expansion."""

from __future__ import annotations

import re

_ASSIGNMENT = re.compile(
    r"""\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<plain>[^\s"'$`\\]*))\s*"""
)


def parse_os_release(text: str) -> dict[str, str]:
    """Fields by name; lines that are no assignment or not well quoted are left out."""
    fields = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line)
        if match:
            plain, double, single = match["plain"], match["double"], match["single"]
            # Between double quotes the shell takes a backslash away from these four only.
            fields[match["name"]] = (
                re.sub(r'\\(["$`\\])', r"\1", double) if double is not None else single or plain or ""
            )
    return fields
