"""How long a guest stood still, told from what a workload in it noted and from its clock.

A guest's own clock may stand still with it (QEMU hands KVM's clock over as it was when the guest was stopped), or go on. So
neither the gaps in what the guest noted nor the lag of its clock alone tell how long it stood; both together do.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from fixtures.guest import Guest

_READINGS = 3


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The guest's monotonic clock, read at some time between two of ours; all in seconds."""

    guest_s: float
    asked_at: float
    answered_at: float


@dataclass(frozen=True, slots=True)
class Standstill:
    """Seconds: `gap_s` by the guest's clock, and by how much that clock fell behind ours meanwhile, between two bounds."""

    gap_s: float
    lag_least_s: float
    lag_most_s: float

    @property
    def downtime_s(self) -> float:
        """The gap and the middle of the lag."""
        return self.gap_s + (self.lag_least_s + self.lag_most_s) / 2

    @property
    def uncertainty_s(self) -> float:
        """How far off `downtime_s` may be."""
        return (self.lag_most_s - self.lag_least_s) / 2


def read_clock(guest: Guest) -> tuple[ClockReading, ...]:
    """Several readings: each is as inexact as the way into the guest is long."""
    readings = []
    for _ in range(_READINGS):
        asked = time.monotonic()
        seconds = float(guest.check(("cat", "/proc/uptime")).split()[0])
        readings.append(ClockReading(seconds, asked, time.monotonic()))
    return tuple(readings)


def standstill(stamps: Sequence[float], before: Sequence[ClockReading], after: Sequence[ClockReading]) -> Standstill:
    """What the `stamps` of a workload and readings `before` and `after` say together. Needs two stamps, and one reading each.

    A clock that is ahead after it has not stood still: the lag is 0 then.
    """
    earlier, later = _offset(before), _offset(after)
    least, most = later[0] - earlier[1], later[1] - earlier[0]
    return Standstill(max(two - one for one, two in pairwise(stamps)), max(0.0, least), max(0.0, most))


def judge_standstill(stood: Standstill, most_s: float) -> str | None:
    """What is wrong with having stood still for that long, when `most_s` are allowed; None when nothing is, for certain."""
    if stood.downtime_s - stood.uncertainty_s <= most_s:
        return None
    return (
        f"expected the guest to stand still for {most_s:g} s at most, it did for {stood.downtime_s:.1f} s "
        f"(give or take {stood.uncertainty_s:.1f} s)"
    )


def _offset(readings: Sequence[ClockReading]) -> tuple[float, float]:
    """Between which bounds our clock is ahead of the guest's."""
    return (
        max(reading.asked_at - reading.guest_s for reading in readings),
        min(reading.answered_at - reading.guest_s for reading in readings),
    )
