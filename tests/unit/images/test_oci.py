"""Container images: both forms they are saved in, digests that must fit, and what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from images import ImageFault, Store
from images.forms import RootfsEntry
from images.oci import layers_of, plain_tar
from images.progress import SilentReporter
from tests.container_image import docker_save, layout, sha256, tar

MIB = 1024**2


LAYERS = [tar({"etc/a": b"1"}), tar({"etc/b": b"2"})]


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., list[bytes]]:
    """The layers taken out of an image with these files."""

    def make(files: Mapping[str, bytes], limit: int = 64 * MIB) -> list[bytes]:
        path = tmp_path / "image.tar"
        path.write_bytes(tar(files))
        with SilentReporter().task("") as task:
            return [layer.read_bytes() for layer in layers_of(path, tmp_path, limit, task)]

    return make


def test_both_forms_hold_the_same_layers(take: Callable[..., list[bytes]]) -> None:
    assert take(docker_save(LAYERS)) == LAYERS
    assert take(layout(LAYERS)) == LAYERS
    assert take(layout(LAYERS, {"os": "linux", "architecture": "amd64"})) == LAYERS


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "has no file 'manifest.json'"),
        ({"manifest.json": b"[]"}, "holds 0"),
        ({"manifest.json": b"nonsense"}, "is not JSON"),
        ({"manifest.json": b"[" * 100_000}, "is not JSON"),
        ({"manifest.json": b'[{"Config": "../../etc/passwd", "Layers": []}]'}, "has no file '../../etc/passwd'"),
        (docker_save(LAYERS) | {"1/layer.tar": LAYERS[0]}, "does not have the digest"),
        (docker_save(LAYERS, architecture="arm64"), "is for 'arm64'"),
        (docker_save(LAYERS, rootfs={"diff_ids": []}), "has 2 layers and 0 digests"),
        (layout(LAYERS, {"os": "linux", "architecture": "arm64"}), "holds 0"),
        ({"index.json": b'{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}'}, "is no sha256 digest"),
        (
            {name: data.replace(b"amd64", b"AMD64") for name, data in layout(LAYERS).items()},
            "does not have that digest",
        ),
    ],
)
def test_what_does_not_fit_is_refused(take: Callable[..., list[bytes]], files: dict[str, bytes], said: str) -> None:
    with pytest.raises(ImageFault) as caught:
        take(files)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("files", [docker_save(LAYERS), layout(LAYERS)])
def test_a_container_image_is_not_taken_for_the_files_of_one(
    store: Store, tmp_path: Path, files: dict[str, bytes]
) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(tar(files))
    described = {
        "kind": "rootfs",
        "id": "acme",
        "name": "Acme",
        "origin": "a test",
        "url": str(path),
        "sha256": sha256(path.read_bytes()),
        "kernel": {"suite": "bookworm", "package": "linux-image-cloud-amd64", "origin": "Debian"},
    }
    with pytest.raises(ImageFault, match=r"acme: the file is a container image.*archive: oci"):
        store.obtain(RootfsEntry.model_validate(described))


def test_a_large_configuration_is_read_and_a_huge_one_refused(take: Callable[..., list[bytes]]) -> None:
    assert take(docker_save(LAYERS, comment="x" * 2 * MIB)) == LAYERS
    with pytest.raises(ImageFault, match=r"its config\.json has \d+ bytes"):
        take(docker_save(LAYERS, comment="x" * 4 * MIB))


def test_names_do_not_reach_a_terminal_as_they_are(take: Callable[..., list[bytes]]) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\u202elayer.tar"
    listed = json.dumps([{"Config": "config.json", "Layers": [evil]}]).encode()
    files = docker_save(LAYERS[:1]) | {"manifest.json": listed, evil: LAYERS[1]}
    with pytest.raises(ImageFault, match="does not have the digest") as caught:
        take(files)
    assert str(caught.value).isprintable()
    assert r"\x1b]0;owned\x07\x9b2J\u202elayer.tar" in str(caught.value)


def test_layers_count_together(take: Callable[..., list[bytes]]) -> None:
    assert len(take(docker_save(LAYERS), limit=sum(map(len, LAYERS)))) == 2
    with pytest.raises(ImageFault, match="more than"):
        take(docker_save(LAYERS), limit=sum(map(len, LAYERS)) - 1)


def test_a_bomb_is_known_by_its_ratio(tmp_path: Path) -> None:
    packed = tmp_path / "bomb.tar.gz"
    with gzip.open(packed, "wb", compresslevel=9) as file:
        for _ in range(96):
            file.write(bytes(MIB))
    with SilentReporter().task("") as task, pytest.raises(ImageFault, match="unpacks to more than"):
        plain_tar(packed, tmp_path / "plain.tar", 1 << 40, task)
