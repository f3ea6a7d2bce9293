"""Take a file out of an installer's medium (ISO 9660), whose maker nobody trusts."""

from __future__ import annotations

import re
from pathlib import Path

from images.command import run
from images.faults import ImageFault

MAX_BYTES = 1024**3
"""No kernel or initrd of an installer is larger than 1 GiB."""

_LISTED = re.compile(r"-[\w-]{9}\S*\s+\d+\s+\S+\s+\S+\s+(\d+)\s")
"""A regular file's line of `xorriso -lsdl`, up to its size: what it has when it is taken out, also when it is packed on
the medium (zisofs)."""


def take_out(medium: Path, path: str, target: Path) -> None:
    """Write the regular file `path` of `medium` to `target`, for its owner only. Raises ImageFault.

    A link would become one of this machine, and what is done to `target` be done to whatever it names; a folder would
    come with all that is in it.
    """
    listed = run(["xorriso", "-indev", str(medium), "-find", path, "-maxdepth", "0", "-type", "f", "-exec", "lsdl"])
    size = _LISTED.match(listed)
    if size is None:
        raise ImageFault(f"{path} of the medium is no file")
    if int(size[1]) > MAX_BYTES:
        raise ImageFault(f"refused, {path} of the medium has {size[1]} bytes (allowed: up to {MAX_BYTES})")
    run(["xorriso", "-osirrox", "on", "-indev", str(medium), "-extract", path, str(target)])
    target.chmod(0o600)
