"""Files of packages with lines taken out, as a recipe asks for."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from images.archive import Member
from images.faults import ImageFault
from images.model import EditedFile


def edited_files(archive: Path, edits: Sequence[EditedFile]) -> list[Member]:
    """The files of the tar `archive` that `edits` name, edited. Raises ImageFault when one is not as expected."""
    lines: dict[str, list[str]] = {}
    for edit in edits:
        for path in edit.paths:
            lines.setdefault(path, []).extend(edit.without_lines)
    if not lines:
        return []
    made: list[Member] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            path = "/" + member.name.removeprefix("./")
            file = tar.extractfile(member) if path in lines else None
            if file is not None:
                made.append(Member(path, _without(file.read().decode(), lines.pop(path), path), member.mode & 0o7777))
    if lines:
        raise ImageFault(f"there is no file {', '.join(sorted(lines))} to edit in the installed system")
    return made


def _without(text: str, lines: Sequence[str], path: str) -> str:
    kept = text.splitlines(keepends=True)
    for line in lines:
        rest = [each for each in kept if each.strip() != line.strip()]
        if len(rest) == len(kept):
            raise ImageFault(f"{path} has no line '{line}' to take out")
        kept = rest
    return "".join(kept)
