"""Folders for work in progress: gone when the work ends, swept by whoever comes next when its owner was killed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from images.locking import UseLock

_SIGN = "owner.lock"


class Workspaces:
    """Work folders below `root`. Each is locked by its owner as long as the owner lives."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def open(self, name: str) -> Iterator[Path]:
        """A fresh empty folder, removed at the end. Raises OSError."""
        with self._guard():
            home = self._root / f"{name[:16]}-{secrets.token_hex(4)}"
            home.mkdir(mode=0o755)
            lock = UseLock.shared(home / _SIGN)
        try:
            folder = home / "files"
            folder.mkdir()
            yield folder
        finally:
            with self._guard():
                remove_tree(home)
            lock.release()

    def sweep(self) -> int:
        """Remove the folders of owners that died; bytes freed. Raises OSError."""
        freed = 0
        with self._guard():
            for home in self._root.iterdir():
                if not home.is_dir() or (lock := UseLock.exclusive(home / _SIGN)) is None:
                    continue
                freed += remove_tree(home)
                lock.release()
        return freed

    def _guard(self) -> FileLock:
        # A folder exists for a moment before its owner has locked it; sweeping waits until that moment is over.
        return FileLock(self._root.parent / "locks" / "work")


def remove_tree(folder: Path) -> int:
    """Remove a folder with everything in it; bytes freed. A mounted file system in it is never entered.

    A killed build may have left read-only folders, which are opened first. Raises OSError.
    """
    mounted = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    inside = [point for point in mounted if point.is_relative_to(folder.resolve())]
    if inside:
        raise OSError(f"{inside[0]} is still mounted; unmount it, then try again")
    freed = 0
    for parent, _, files in os.walk(folder):
        if not os.access(parent, os.W_OK | os.X_OK):
            Path(parent).chmod(0o700)
        freed += sum((Path(parent) / name).lstat().st_blocks * 512 for name in files)
    shutil.rmtree(folder)
    return freed
