"""What everything that makes an image is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from images.emulator import Emulator
from images.keys import IdentityKeys
from images.progress import Reporter


@dataclass(frozen=True)
class Workplace:
    """Where an image is made: an empty folder, a prefix for downloads that outlive it, its key, and the cache's keys.

    `emulator` tells what an installer runs in on this machine; it is asked only when one is to be run.
    """

    work: Path
    partial: Path
    key: str
    keys: IdentityKeys
    report: Reporter
    emulator: Callable[[], Emulator]

    def partial_of(self, name: str) -> Path:
        """Where an unfinished download is kept."""
        return self.partial.with_name(f"{self.partial.name}.{name}part")
