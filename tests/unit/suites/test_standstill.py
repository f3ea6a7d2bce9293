"""How long a guest stood still, from what it noted and from two clocks that are read inexactly."""

from __future__ import annotations

import pytest

from suites.lifecycle.standstill import ClockReading, Standstill, judge_standstill, standstill

STAMPS = (100.0, 100.1, 100.2, 100.7, 100.8)


def readings(*offsets_and_trips: tuple[float, float], guest_s: float = 100.0) -> list[ClockReading]:
    """Readings of a clock that ours is ahead of by an offset, each answered after a trip of which half is the way there."""
    return [
        ClockReading(guest_s, guest_s + offset - trip / 2, guest_s + offset + trip / 2)
        for offset, trip in offsets_and_trips
    ]


def test_a_clock_that_went_on_adds_nothing() -> None:
    stood = standstill(STAMPS, readings((5, 0.2)), readings((5, 0.2)))
    assert stood.gap_s == pytest.approx(0.5)
    assert (stood.lag_least_s, stood.lag_most_s) == pytest.approx((0.0, 0.2))
    assert stood.downtime_s == pytest.approx(0.6)
    assert stood.uncertainty_s == pytest.approx(0.1)


def test_what_the_clock_lost_counts() -> None:
    stood = standstill(STAMPS, readings((5, 0.1)), readings((7, 0.1), guest_s=110))
    assert stood.downtime_s == pytest.approx(2.5)
    assert stood.uncertainty_s == pytest.approx(0.1)


def test_the_best_of_several_readings_is_taken() -> None:
    stood = standstill(STAMPS, readings((5, 4), (5, 0.1), (5, 3)), readings((7, 2), (7, 0.1)))
    assert stood.uncertainty_s == pytest.approx(0.1)


def test_a_clock_that_is_ahead_has_not_stood_still() -> None:
    assert standstill(STAMPS, readings((5, 0.1)), readings((4, 0.1))).downtime_s == pytest.approx(0.5)


def test_too_long_is_said_only_when_it_is_certain() -> None:
    stood = Standstill(gap_s=1.0, lag_least_s=2.0, lag_most_s=3.0)
    assert judge_standstill(stood, 3.0) is None
    assert judge_standstill(stood, 2.9) == (
        "expected the guest to stand still for 2.9 s at most, it did for 3.5 s (give or take 0.5 s)"
    )
