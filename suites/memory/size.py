"""How much memory a guest must see of what it was given."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from pydantic import Field

from suites.bounds import Bounds, load_bounds


class MissingShare(Bounds):
    """At `memory_mib` defined, `share` of it may be missing."""

    memory_mib: int = Field(gt=0)
    share: float = Field(ge=0, lt=1)


class MemoryBounds(Bounds):
    """`bounds.yaml`: points by growing size."""

    missing_share: tuple[MissingShare, ...] = Field(min_length=1)


def memory_bounds() -> MemoryBounds:
    """The bounds beside this module."""
    return load_bounds(Path(__file__).with_name("bounds.yaml"), MemoryBounds)


def missing_share_allowed(memory_mib: int, points: tuple[MissingShare, ...]) -> float:
    """Share of `memory_mib` that may be missing: linear between `points`, constant outside of them."""
    if memory_mib <= points[0].memory_mib:
        return points[0].share
    for low, high in pairwise(points):
        if memory_mib <= high.memory_mib:
            way = (memory_mib - low.memory_mib) / (high.memory_mib - low.memory_mib)
            return low.share + way * (high.share - low.share)
    return points[-1].share


def judge_size(seen_kib: int, memory_mib: int, points: tuple[MissingShare, ...]) -> str | None:
    """What is wrong with MemTotal `seen_kib` (KiB) for `memory_mib` (MiB) defined; None when nothing is."""
    defined_kib = memory_mib * 1024
    share = missing_share_allowed(memory_mib, points)
    if seen_kib > defined_kib:
        return f"expected MemTotal of at most the {memory_mib} MiB defined, the guest sees {seen_kib / 1024:.0f} MiB"
    if seen_kib < defined_kib * (1 - share):
        return (
            f"expected MemTotal of at least {memory_mib * (1 - share):.0f} MiB ({memory_mib} MiB defined, {share:.0%} may "
            f"be missing), the guest sees {seen_kib / 1024:.0f} MiB"
        )
    return None
