"""Locks that the kernel drops when their holder dies: whoever comes next never meets a stale one.

`FileLock` of the filelock package covers exclusive locks; flock(2) directly is used for what it has not: shared
locks ("in use") and asking without waiting.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class UseLock:
    """Shared while held by users of a file, exclusive for whoever wants to remove it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def shared(cls, path: Path) -> UseLock:
        """Hold `path` as one of many; waits for a remover, which is quick."""
        return cls(path, _lock(path, fcntl.LOCK_SH))

    @classmethod
    def exclusive(cls, path: Path) -> UseLock | None:
        """Hold `path` alone, or None at once if anybody holds it."""
        try:
            return cls(path, _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            return None

    def release(self) -> None:
        """Give the lock back. The file stays: removing a lock file under others' feet is a race."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _lock(path: Path, how: int) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not inheritable: a lock must end with the process that asked for it, not with its children.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
