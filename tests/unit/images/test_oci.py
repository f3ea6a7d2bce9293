"""Container images: both forms they are saved in, digests that must fit, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from images import ImageFault
from images.oci import layers_of, plain_tar
from images.progress import SilentReporter

MIB = 1024**2


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


LAYERS = [tar({"etc/a": b"1"}), tar({"etc/b": b"2"})]


def configuration(layers: list[bytes], **fields: object) -> bytes:
    digests = [f"sha256:{sha256(layer)}" for layer in layers]
    return json.dumps({"architecture": "amd64", "rootfs": {"diff_ids": digests}} | fields).encode()


def docker_save(layers: list[bytes], **fields: object) -> dict[str, bytes]:
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    listed = json.dumps([{"Config": "config.json", "Layers": names}]).encode()
    return {"manifest.json": listed, "config.json": configuration(layers, **fields)} | dict(
        zip(names, layers, strict=True)
    )


def layout(layers: list[bytes], platform: Mapping[str, str] | None = None) -> dict[str, bytes]:
    config, packed = configuration(layers), [gzip.compress(layer) for layer in layers]

    def blob(data: bytes) -> dict[str, object]:
        return {"digest": f"sha256:{sha256(data)}", "size": len(data)}

    manifest = json.dumps({"config": blob(config), "layers": [blob(each) for each in packed]}).encode()
    inner = json.dumps({"manifests": [blob(manifest) | ({"platform": platform} if platform else {})]}).encode()
    files = {"oci-layout": b"{}", "index.json": json.dumps({"manifests": [blob(inner)]}).encode()}
    return files | {f"blobs/sha256/{sha256(data)}": data for data in (config, manifest, inner, *packed)}


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
