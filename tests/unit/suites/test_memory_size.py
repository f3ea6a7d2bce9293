"""How much memory may be missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.memory.size import judge_size, memory_bounds, missing_share_allowed

POINTS = memory_bounds().missing_share


@pytest.mark.parametrize(
    ("memory_mib", "share"), [(64, 0.25), (2048, 0.25), (9216, 0.175), (16384, 0.10), (1 << 20, 0.10)]
)
def test_share_follows_the_catalogue(memory_mib: int, share: float) -> None:
    assert missing_share_allowed(memory_mib, POINTS) == pytest.approx(share)


@given(st.integers(1, 1 << 26))
def test_share_never_leaves_its_bounds(memory_mib: int) -> None:
    assert 0.10 <= missing_share_allowed(memory_mib, POINTS) <= 0.25


def test_a_usual_guest_passes() -> None:
    assert judge_size(470 * 1024, 512, POINTS) is None
    assert judge_size(512 * 1024, 512, POINTS) is None


def test_too_little_and_too_much_do_not() -> None:
    assert "at least 384 MiB" in (judge_size(383 * 1024, 512, POINTS) or "")
    assert "at most the 512 MiB" in (judge_size(513 * 1024, 512, POINTS) or "")
    assert judge_size(15 << 20, 16384, POINTS) is None
    assert judge_size(14 << 20, 16384, POINTS) is not None
