"""Thirty guests on one image: real overlays on a real qcow2, written to, and what that costs in bytes and in reading."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.this_machine import ThisMachine
from images import Store, manifest
from tests.unit.images.conftest import MakeEntry

GUESTS = 30
MIB = 1024**2
WRITTEN = MIB
"""What each guest writes, in bytes."""


def allocated(folder: Path) -> int:
    """Bytes that the files of a folder take on the disk, each file once however many names it has."""
    return sum({s.st_ino: s.st_blocks * 512 for s in (file.stat() for file in folder.rglob("*"))}.values())


def qemu_io(overlay: Path, *commands: str) -> str:
    """Do as a guest's disk controller would. Raises CalledProcessError."""
    words = [word for command in commands for word in ("-c", command)]
    argv = ["qemu-io", "-f", "qcow2", *words, overlay]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_thirty_guests_take_the_image_once_and_what_they_write(
    cache: Path, disk: Path, entry_for: MakeEntry, tmp_path: Path
) -> None:
    store, site = Store(cache), ThisMachine()
    image = store.obtain(entry_for(disk))
    whole = allocated(cache)
    live = tmp_path / "live"
    overlays = [live / str(number) / "root.qcow2" for number in range(GUESTS)]
    for overlay in overlays:
        # As each worker does: every guest asks for its image, whatever others have done.
        asked = Store(cache)
        assert asked.obtain(entry_for(disk)).disk == image.disk
        asked.close()
        site.make_folder(overlay.parent)
        site.create_overlay(overlay, image.disk, image.format, image.virtual_size)
    empty = allocated(live)
    assert empty < GUESTS * MIB // 2, "an overlay that nobody has written to is next to nothing"
    for number, overlay in enumerate(overlays):
        qemu_io(overlay, f"write -P {number} 0 {WRITTEN}")
    # qcow2 takes whole clusters of 64 KiB, and one for the first table that leads to them.
    assert allocated(live) - empty <= GUESTS * (WRITTEN + 2 * 64 * 1024)
    assert allocated(cache) - whole < MIB, "the image itself is there once"
    for number, overlay in enumerate(overlays):
        seen = qemu_io(overlay, f"read -P {number} 0 {WRITTEN}", f"read -v {WRITTEN} 16")
        assert "Pattern verification failed" not in seen, "each guest has its own disk"
        assert "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f" in seen, "over what the image holds"
    assert image.digest == f"sha256:{hashlib.sha256(image.disk.read_bytes()).hexdigest()}", "which nobody has changed"
    store.close()


def test_what_guests_share_cannot_be_written_to(store: Store, disk: Path, entry_for: MakeEntry, tmp_path: Path) -> None:
    image = store.obtain(entry_for(disk))
    overlay = tmp_path / "root.qcow2"
    ThisMachine().create_overlay(overlay, image.disk, image.format, image.virtual_size)
    described = subprocess.run(
        ["qemu-img", "info", "--output=json", overlay], check=True, capture_output=True, text=True
    ).stdout
    assert f'"full-backing-filename": "{image.disk}"' in described
    assert image.disk.stat().st_mode & 0o222 == 0, "no write bit for anybody"
    # `commit` writes an overlay's content back into what others have below theirs. Root may do that by a privilege only.
    plainly = ["setpriv", "--bounding-set=-all", "--"] if os.geteuid() == 0 else []
    argv = [*plainly, "qemu-img", "commit", "-q", overlay]
    qemu_io(overlay, "write -P 1 0 512")
    assert subprocess.run(argv, capture_output=True, check=False).returncode != 0
    assert image.disk.read_bytes() == disk.read_bytes()
    image.disk.chmod(0o644)
    subprocess.run(argv, check=True)
    assert image.disk.read_bytes() != disk.read_bytes(), "it was the missing write bit that prevented it"


def test_a_shared_image_is_read_in_full_once_a_change(
    cache: Path, disk: Path, entry_for: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    digest: Callable[..., str] = manifest.file_digest

    def counted(path: Path, *others: object) -> str:
        reads.append(path)
        return digest(path, *others)

    def obtained_by_all() -> int:
        """How often a file in the cache is read in full while all guests ask for their image."""
        reads.clear()
        for _ in range(GUESTS):
            store = Store(cache)
            store.obtain(entry)
            store.close()
        return len(reads)

    entry = entry_for(disk)
    opened = Store(cache)
    stored = opened.obtain(entry).disk
    opened.close()
    monkeypatch.setattr(manifest, "file_digest", counted)
    assert obtained_by_all() == 0
    stored.touch()
    assert obtained_by_all() == 1
    assert obtained_by_all() == 0
