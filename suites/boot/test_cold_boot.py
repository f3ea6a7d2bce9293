"""From power-off to ready."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from fixtures.guest import Guest, State
from suites.boot.timeline import phases
from suites.fixture_types import Attach


@pytest.mark.hands_over
@pytest.mark.without_shell
def test_cold_boot(cold_guest: Guest, attach: Attach) -> None:
    """A powered-off guest boots from its image and becomes ready.

    Preconditions: the guest's image, as its catalogue entry says; no checkpoint is used.
    Steps: power on; wait for the first command answered inside, within the boot deadline; where nobody can log in, for what the
    console shows of a guest that is up.
    Expected: the guest is ready, and it came from a cold boot; the times of firmware, loader, kernel and userspace
    are recorded.
    """
    timeline = cold_guest.boot_timeline
    attach("boot-timeline.json", json.dumps(asdict(timeline), indent=2), "application/json")
    assert cold_guest.state is State.READY, (
        f"expected the guest to be ready after power-on, it is {cold_guest.state}; see the console log"
    )
    assert cold_guest.origin == "cold", (
        f"expected a guest booted from its image, got one from a {cold_guest.origin} of run {cold_guest.checkpoint_run}"
    )
    assert "boot_ready" in phases(timeline), (
        f"expected the time from power-on to ready, {timeline.source} tells none; see boot-timeline.json"
    )
