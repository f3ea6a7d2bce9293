"""Does the guest's agent answer?"""

from __future__ import annotations

import pytest

from fixtures.guest import Guest


@pytest.mark.requires("agent")
def test_ping(guest: Guest) -> None:
    """The guest agent answers the hypervisor.

    Preconditions: an agent in the guest and a channel of the hypervisor to it.
    Steps: ping the agent.
    Expected: it answers before the deadline.
    """
    guest.agent.ping()
