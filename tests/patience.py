"""Deadlines that are meant to pass, on machines that may be busy: long enough for what must come before, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

SPANS = (1.0, 4.0, 16.0, 64.0)
"""Seconds; the first is enough on a machine that is free."""

Late = TypeVar("Late", bound=Exception)
Result = TypeVar("Result")


def when_passed(kind: type[Late], attempt: Callable[[float], object], enough: Callable[[Late], bool]) -> Late:
    """What `attempt` raises when the seconds that it gets have passed, from the first time that they were `enough`."""
    for seconds in SPANS:
        with pytest.raises(kind) as caught:
            attempt(seconds)
        if enough(caught.value):
            return caught.value
    pytest.fail(f"even {SPANS[-1]:.0f} s are not enough: {caught.value}")


def in_time(attempt: Callable[[float], Result], late: type[Exception]) -> Result:
    """What `attempt` returns, with as many seconds as it takes; `late` is what it raises when they are too few."""
    for seconds in SPANS[:-1]:
        try:
            return attempt(seconds)
        except late:
            continue
    return attempt(SPANS[-1])
