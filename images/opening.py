"""From a file as its vendor publishes it to a disk that QEMU runs from: unpacked, examined, converted."""

from __future__ import annotations

from pathlib import Path

from images.disk import to_qcow2
from images.examine import examine, refuse_expansion
from images.faults import ImageFault
from images.model import UrlEntry
from images.progress import Reporter
from images.unpack import unpack


def open_up(entry: UrlEntry, fetched: Path, ready: Path, report: Reporter) -> None:
    """Make `ready` of the verified file `fetched`, which is used up: raw if the entry says raw, else qcow2.

    Works in the folder of `fetched`. Raises ImageFault; OSError when the disk is full.
    """
    disk, limit = fetched, entry.unpacked_gib * 1024**3
    if entry.compression != "none":
        disk = fetched.with_name("unpacked")
        with report.task(f"{entry.id}: unpacking {entry.compression}") as task:
            try:
                unpack(fetched, entry.compression, disk, limit, task)
            except ImageFault as fault:
                raise ImageFault(f"{entry.id}: the file {fault}") from fault
        fetched.unlink()
    if entry.format in {"qcow2", "raw"}:
        disk.rename(ready)
        return
    examine(disk, entry.format)
    refuse_expansion(disk, entry.format, ready.parent, limit)
    with report.task(f"{entry.id}: converting {entry.format} to qcow2"):
        to_qcow2(disk, ready, entry.format)
    disk.unlink()
