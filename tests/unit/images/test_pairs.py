"""Kernel and initrd pairs: both verified, an empty disk beside them, and one identity for all three."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from images import ImageFault, PairEntry, Store
from images.forms import PublishedFile


def pair(kernel: Path, initrd: Path, **fields: object) -> PairEntry:
    """The entry of two files with their true digests."""
    files = {
        name: {"url": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for name, path in (("kernel", kernel), ("initrd", initrd))
    }
    return PairEntry.model_validate({"kind": "pair", "id": "live", "name": "Live", "origin": "us"} | files | fields)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A kernel and an initrd."""
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path / "vmlinuz", tmp_path / "initrd"


def test_a_pair_comes_with_an_empty_disk(store: Store, files: tuple[Path, Path]) -> None:
    image = store.obtain(pair(*files, disk_gib=2))
    assert image.kernel is not None
    assert image.initrd is not None
    assert (image.kernel.read_bytes(), image.initrd.read_bytes()) == (b"vmlinuz", b"initrd")
    assert (image.virtual_size, image.seed, image.kernel_from) == (2 * 1024**3, "none", None)


def test_pairs_with_the_same_empty_disk_are_different_images(store: Store, files: tuple[Path, Path]) -> None:
    one = store.obtain(pair(*files))
    files[1].write_bytes(b"another")
    two = store.obtain(pair(*files))
    assert one.digest != two.digest
    assert one.disk != two.disk
    assert two.initrd is not None
    assert two.initrd.read_bytes() == b"another"
    assert [store.verify(manifest) for manifest in store.manifests()] == [None, None]
    assert store.sweep() == 0


def test_a_changed_half_is_refused(store: Store, files: tuple[Path, Path]) -> None:
    entry = pair(*files)
    files[1].write_bytes(b"changed")
    with pytest.raises(ImageFault, match="not used"):
        store.obtain(entry)


def test_a_half_without_a_digest_is_no_entry() -> None:
    with pytest.raises(ValueError, match="exactly one of sha256 and sha512"):
        PublishedFile(url="vmlinuz")
