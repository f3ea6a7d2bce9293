"""How long does a boot take?"""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from fixtures.guest import Guest
from fixtures.observation import Direction
from suites.boot.timeline import phases
from suites.fixture_types import Attach, RecordMetric


def test_boot_time(guest: Guest, request: pytest.FixtureRequest, metric: RecordMetric, attach: Attach) -> None:
    """Time of a cold boot and of its parts.

    Preconditions: a guest booted from its image in this run; one is booted where the shared guest was restored.
    Steps: take the times of power-on, loader, kernel, first process, init system done and first command answered.
    Expected: the time from power-on to ready is known; metrics boot_firmware, boot_loader, boot_kernel, boot_userspace
    and boot_ready in seconds, lower is better, as far as the guest has these parts.
    """
    # A restore is not a boot: its checkpoint's boot may be of another day and another load of the host.
    booted: Guest = guest if guest.origin == "cold" else request.getfixturevalue("cold_guest")
    timeline = booted.boot_timeline
    attach("boot-timeline.json", json.dumps(asdict(timeline), indent=2), "application/json")
    for name, seconds in phases(timeline).items():
        metric(name, seconds, "s", Direction.LOWER)
    assert timeline.ready_s is not None, f"expected the time from power-on to ready, {timeline.source} tells none"
