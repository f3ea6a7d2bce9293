"""Which block device of the guest is which defined disk, and is it as defined?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from fixtures.definition import Disk
from suites.bounds import Bounds, load_bounds
from suites.reading.sysfs import BlockDevice


class StorageBounds(Bounds):
    """`bounds.yaml`."""

    verified_blocks: int = Field(gt=0)


def storage_bounds() -> StorageBounds:
    """The bounds beside this module."""
    return load_bounds(Path(__file__).with_name("bounds.yaml"), StorageBounds)


def device_of(disk: Disk, devices: Iterable[BlockDevice]) -> BlockDevice | None:
    """The device of `disk`: by serial where the bus shows serials, else by the name that was asked for."""
    known = list(devices)
    by_serial = next((device for device in known if device.serial == disk.serial), None)
    by_name = next((device for device in known if device.name == disk.target and device.serial is None), None)
    return by_serial or by_name


def judge_disk(disk: Disk, devices: Iterable[BlockDevice]) -> list[str]:
    """What is wrong with `disk` as the guest sees it; empty when nothing is."""
    known = [device for device in devices if device.drivers]
    device = device_of(disk, known)
    if device is None:
        seen = (
            ", ".join(f"{device.name} (serial {device.serial or 'not shown'})" for device in known) or "no disk at all"
        )
        return [f"expected disk {disk.name} with serial {disk.serial}, the guest has {seen}"]
    problems = []
    if device.size_bytes != disk.size_bytes:
        problems.append(f"expected disk {disk.name} of {disk.size_bytes} bytes, {device.name} has {device.size_bytes}")
    if disk.driver not in device.drivers:
        problems.append(
            f"expected disk {disk.name} to be driven by {disk.driver}, {device.name} is by {' below '.join(device.drivers)}"
        )
    return problems
