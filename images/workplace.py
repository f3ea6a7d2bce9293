"""What everything that makes an image is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from images.keys import IdentityKeys
from images.progress import Reporter


@dataclass(frozen=True)
class Workplace:
    """Where an image is made: an empty folder, a prefix for downloads that outlive it, its key, and the cache's keys."""

    work: Path
    partial: Path
    key: str
    keys: IdentityKeys
    report: Reporter

    def partial_of(self, name: str) -> Path:
        """Where an unfinished download is kept."""
        return self.partial.with_name(f"{self.partial.name}.{name}part")
