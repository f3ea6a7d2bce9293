"""Open a tar archive whose maker nobody trusts."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images.faults import ImageFault

_MAX_HEADER = 1024 * 1024


class _Bounded(io.BufferedReader):
    """Refuses to read much at once: a header says how long it is, and tarfile believes it."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MAX_HEADER:
            raise ImageFault(f"refused, has a header of {size} bytes")
        return super().read(size)


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar that is not packed and that nobody trusts; whatever is wrong with it becomes an ImageFault."""
    try:
        with (
            _Bounded(io.FileIO(path)) as file,
            tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as tar,
        ):
            yield tar
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise ImageFault(f"is not a whole tar file: {error}") from error
