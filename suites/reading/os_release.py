"""/etc/os-release, parsed as os-release(5) says: shell assignments without expansion."""

from __future__ import annotations

import re
import shlex


def parse_os_release(text: str) -> dict[str, str]:
    """Fields by name; lines that are no assignment or not well quoted are left out."""
    fields = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)", line)
        if not match:
            continue
        try:
            fields[match[1]] = "".join(shlex.split(match[2], posix=True))
        except ValueError:
            continue
    return fields
