"""Turn a file that a user has into the entry of an image that has to be supplied."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from images.faults import ImageFault
from images.fetch import own_file
from images.manifest import file_digest
from images.model import UserEntry
from images.progress import Reporter


def write_supplied(entry: UserEntry, file: Path, target: Path, report: Reporter) -> str:
    """Write to `target` that `entry` is `file`, with the digest it has now, which is returned (sha256, hexadecimal).

    The file is read once; a change after that is found when it is used. Raises ImageFault.
    """
    path = own_file(entry.id, file.absolute())
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial")
    try:
        with report.task(f"{entry.id}: reading {path}") as task:
            digest = file_digest(path, "sha256", task.advance)
        made = entry.supplied(str(path), digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = made.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        partial.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000), encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise ImageFault(f"{entry.id}: {error.filename or target}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return digest
