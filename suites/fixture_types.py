"""What the recording fixtures look like to a probe (`fixtures/recording.py` makes them)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from fixtures.observation import Direction


class RecordMetric(Protocol):
    """The `metric` fixture."""

    def __call__(self, name: str, value: float, unit: str, direction: Direction) -> None:
        """Record one measured number."""
        ...


class Attach(Protocol):
    """The `attach` fixture."""

    def __call__(self, name: str, data: str | bytes | Path, mime: str = "text/plain") -> None:
        """Keep `data` (or the file it names) as evidence."""
        ...


class OpenStep(Protocol):
    """The `step` fixture."""

    def __call__(self, title: str) -> AbstractContextManager[None]:
        """A titled part of the probe."""
        ...
