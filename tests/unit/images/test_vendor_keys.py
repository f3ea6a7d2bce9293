"""The vendors' keys in images/keys are those that keys.yaml says, and nothing else lies there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "images" / "keys"
KEYS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "keys.yaml").read_text())["keys"]
PUBLIC_KEY_PACKET = 6


def dearmored(text: str) -> bytes:
    """The packets of all armoured blocks of a file (RFC 9580, 6.2), without their checksums."""
    blocks = text.split("-----BEGIN PGP PUBLIC KEY BLOCK-----")[1:]
    packets = b""
    for block in blocks:
        lines = block.split("-----END PGP PUBLIC KEY BLOCK-----")[0].replace("\r", "").split("\n")
        body = lines[lines.index("", 1) + 1 :]
        packets += base64.b64decode("".join(line for line in body if not line.startswith("=")))
    return packets


def packets_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet, in the old and new format (RFC 9580, 4.2)."""
    while data:
        tag = data[0]
        if tag & 0x40:
            kind, first = tag & 0x3F, data[1]
            if first < 192:
                start, length = 2, first
            elif first < 224:
                start, length = 3, ((first - 192) << 8) + data[2] + 192
            else:
                assert first == 255, "partial bodies do not occur in keys"
                start, length = 6, int.from_bytes(data[2:6], "big")
        else:
            kind, size = (tag >> 2) & 0x0F, 1 << (tag & 0x03)
            start, length = 1 + size, int.from_bytes(data[1 : 1 + size], "big")
        yield kind, data[start : start + length]
        data = data[start + length :]


def fingerprint(body: bytes) -> str:
    """Of a version 4 public key packet (RFC 9580, 5.5.4.2)."""
    assert body[0] == 4
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()


@pytest.mark.parametrize("key", KEYS, ids=[key["file"] for key in KEYS])
def test_fingerprints_are_as_recorded(key: dict[str, Any]) -> None:
    packets = packets_of(dearmored((FOLDER / key["file"]).read_text()))
    assert [fingerprint(body) for kind, body in packets if kind == PUBLIC_KEY_PACKET] == key["fingerprints"]


def test_every_file_has_an_origin_and_a_licence() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {"keys.yaml", *(key["file"] for key in KEYS)}
    for key in KEYS:
        assert {"owner", "signs", "origin", "licence"} <= key.keys()
