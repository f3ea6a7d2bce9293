"""Small tar archives that are laid over a root file system."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_PRIVATE = frozenset({".ssh"})


@dataclass(frozen=True)
class Member:
    """A file owned by root at an absolute guest path, or a symbolic link if `link` is its target."""

    path: str
    content: str = ""
    mode: int = 0o644
    link: str | None = None


def write_tar(path: Path, members: Iterable[Member], mtime: int = 0) -> None:
    """Write `members` and the folders above them, all dated `mtime` (seconds since 1970).

    Later members replace earlier ones of the same path when unpacked. Raises OSError.
    """
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        made: set[PurePosixPath] = set()
        for member in members:
            inside = PurePosixPath(member.path).relative_to("/")
            for folder in reversed(inside.parents[:-1]):
                if folder not in made:
                    made.add(folder)
                    info = tarfile.TarInfo(str(folder))
                    info.type, info.mtime = tarfile.DIRTYPE, mtime
                    info.mode = 0o700 if folder.name in _PRIVATE else 0o755
                    tar.addfile(info)
            info = tarfile.TarInfo(str(inside))
            info.mode, info.mtime = member.mode, mtime
            if member.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, member.link
                tar.addfile(info)
                continue
            data = member.content.encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
