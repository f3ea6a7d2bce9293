"""A guest with emulated devices and a screen: it sees them, and evidence has a picture, of a restored one too."""

from __future__ import annotations

import datetime as dt
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.checkpoint import CheckpointStore
from fixtures.deadline import Deadline
from fixtures.evidence import collect
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Image, Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import Cell, Devices, Selection
from matrix.places import cache_dir

PATIENT = 300.0

_AHCI, _VGA = "0x010601", "0x030000"  # PCI Code and ID Assignment Specification, 1
_E1000E = ("0x8086", "0x10d3")  # Intel 82574L


@pytest.fixture
def cell() -> Cell:
    (found,) = expand(load(), Selection(cell=("minimal+qemu-tcg+none",)), today=dt.datetime.now(dt.UTC).date())
    devices = Devices(disk="sata", nic="e1000e", display=True)
    return replace(found, guest=found.guest.model_copy(update={"devices": devices}))


@pytest.fixture
def minimal() -> Iterator[Image]:
    store = Store(cache_dir())
    yield store.obtain(load_catalogue()["minimal"])
    store.close()


def test_emulated_devices_are_seen_and_evidence_has_a_picture(
    host: Host, cell: Cell, minimal: Image, checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    for origin in ("cold", "checkpoint"):
        folder = tmp_path / origin
        with Guest(cell, host, minimal, folder, checkpoints=checkpoints, run_id="tests") as guest:
            guest.to(State.READY, Deadline.after(PATIENT))
            assert guest.origin == origin
            seen = guest.check(["sh", "-c", "cd /sys/bus/pci/devices && cat */class */vendor */device"]).split()
            assert {_AHCI, _VGA, *_E1000E} <= set(seen)
            kept = {one.name: one.path for one in collect(guest, folder / "evidence", Deadline.after(PATIENT))}
        assert kept["screenshot"].name == "screenshot.png"
        width, height, pixels = _pixels(kept["screenshot"].read_bytes())
        assert min(width, height) >= 200
        assert len(set(pixels)) > 1, "what the firmware wrote there has more than one colour"


def _pixels(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and the unpacked lines of a PNG (PNG specification, 5 and 11.2)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, data, size = 8, b"", (0, 0)
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        content = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            size = struct.unpack(">II", content[:8])
        elif kind == b"IDAT":
            data += content
        at += 12 + length
    return *size, zlib.decompress(data)
