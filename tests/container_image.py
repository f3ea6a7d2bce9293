"""Container images put together from layers, in both forms that they are saved in."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping


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
