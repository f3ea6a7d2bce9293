"""The bounds of the boot area."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from suites.bounds import Bounds, load_bounds


class BootBounds(Bounds):
    """`bounds.yaml`; times in seconds."""

    acpi_shutdown_s: float = Field(gt=0)
    console_s: float = Field(gt=0)
    settle_s: float = Field(gt=0)
    firmware_s: float = Field(gt=0)
    fsynced_blocks: int = Field(gt=0)


def boot_bounds() -> BootBounds:
    """The bounds beside this module."""
    return load_bounds(Path(__file__).with_name("bounds.yaml"), BootBounds)
