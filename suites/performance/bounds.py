"""The bounds of the performance area."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from suites.bounds import Bounds, load_bounds


class PerformanceBounds(Bounds):
    """`bounds.yaml`: durations in whole seconds, as the tools take them."""

    sysbench_s: int = Field(gt=0)
    sysbench_max_prime: int = Field(gt=0)
    fio_s: int = Field(gt=0)
    fio_size_mib: int = Field(gt=0)
    iperf3_s: int = Field(gt=0)
    overhead_s: float = Field(gt=0)


def performance_bounds() -> PerformanceBounds:
    """The bounds beside this module."""
    return load_bounds(Path(__file__).with_name("bounds.yaml"), PerformanceBounds)
