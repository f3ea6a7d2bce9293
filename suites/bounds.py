"""The numbers and patterns that probes judge by: YAML beside the probes, checked when read."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict


class Bounds(BaseModel):
    """Base of every area's bounds: an unknown or missing field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AreaBounds = TypeVar("AreaBounds", bound=Bounds)


def load_bounds(file: Path, model: type[AreaBounds]) -> AreaBounds:
    """The bounds in `file`, read once per process. Raises OSError and ValueError (the file ships with its reader)."""
    return _load(file, model)  # type: ignore[return-value]  # functools.cache loses the type variable


@functools.cache
def _load(file: Path, model: type[Bounds]) -> Bounds:
    return model.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
