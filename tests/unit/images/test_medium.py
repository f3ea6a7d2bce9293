"""Files out of real media, honest and hostile ones."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from images import ImageFault, medium
from images.medium import take_out

MIB = 1024**2


@pytest.fixture
def iso_of(tmp_path: Path) -> Callable[..., Path]:
    """Writes a medium with Rock Ridge (links, modes) out of a folder that the test fills; other words go to xorriso."""

    def make(fill: Callable[[Path], object], *words: str) -> Path:
        tree, path = tmp_path / "tree", tmp_path / "acme.iso"
        tree.mkdir()
        fill(tree)
        argv = ["xorriso", "-outdev", path, "-map", tree, "/", *words, "-commit"]
        subprocess.run(argv, check=True, capture_output=True)
        return path

    return make


def test_a_file_is_taken_out_for_its_owner_only(iso_of: Callable[..., Path], tmp_path: Path) -> None:
    path = iso_of(lambda tree: (tree / "vmlinuz").write_bytes(b"kernel"))
    take_out(path, "/vmlinuz", tmp_path / "kernel")
    assert (tmp_path / "kernel").read_bytes() == b"kernel"
    assert (tmp_path / "kernel").stat().st_mode & 0o777 == 0o600


def test_a_link_stays_on_the_medium(iso_of: Callable[..., Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of this machine")
    secret.chmod(0o644)
    path = iso_of(lambda tree: (tree / "vmlinuz").symlink_to(secret))
    with pytest.raises(ImageFault, match="/vmlinuz of the medium is no file"):
        take_out(path, "/vmlinuz", tmp_path / "kernel")
    assert not (tmp_path / "kernel").is_symlink()
    assert secret.stat().st_mode & 0o777 == 0o644, "what is done to the kernel is not done to what it names"


def test_a_folder_is_no_kernel(iso_of: Callable[..., Path], tmp_path: Path) -> None:
    path = iso_of(lambda tree: (tree / "vmlinuz").mkdir() or (tree / "vmlinuz/much").write_bytes(b"x" * MIB))
    with pytest.raises(ImageFault, match="/vmlinuz of the medium is no file"):
        take_out(path, "/vmlinuz", tmp_path / "kernel")
    assert not (tmp_path / "kernel").exists()


def test_a_packed_file_counts_with_what_it_unpacks_to(
    iso_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = iso_of(
        lambda tree: (tree / "initrd").write_bytes(bytes(64 * MIB)), "-set_filter_r", "--zisofs", "/initrd", "--"
    )
    assert path.stat().st_size < 2 * MIB
    monkeypatch.setattr(medium, "MAX_BYTES", 8 * MIB)
    with pytest.raises(ImageFault, match=f"refused, /initrd of the medium has {64 * MIB} bytes") as caught:
        take_out(path, "/initrd", tmp_path / "initrd")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "initrd").exists()


@pytest.mark.parametrize("keep", [0, 40_000])
def test_a_medium_that_is_cut_off_is_one_line(iso_of: Callable[..., Path], tmp_path: Path, keep: int) -> None:
    path = iso_of(lambda tree: (tree / "vmlinuz").write_bytes(b"k" * MIB))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ImageFault) as caught:
        take_out(path, "/vmlinuz", tmp_path / "kernel")
    assert "\n" not in str(caught.value)
