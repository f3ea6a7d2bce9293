"""Waiting for something in a guest that tells nobody when it happens."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fixtures.deadline import Deadline

_PERIOD_S = 0.05


def wait_until(condition: Callable[[], bool], deadline: Deadline) -> bool:
    """Whether `condition` came true before `deadline`; looked at every 50 ms, and once more at the end."""
    while not condition():
        if deadline.expired:
            return condition()
        threading.Event().wait(min(_PERIOD_S, deadline.remaining()))
    return True


def hold(deadline: Deadline) -> None:
    """Do nothing until `deadline`: for probes whose subject is time that goes by (a paused guest)."""
    threading.Event().wait(deadline.remaining())
