"""Does the guest's agent answer?"""

from __future__ import annotations

import pytest

from fixtures.faults import ChannelLost
from fixtures.guest import Guest


@pytest.mark.requires("agent")
def test_ping(guest: Guest) -> None:
    """The guest agent answers the hypervisor.

    Preconditions: an agent in the guest and a channel of the hypervisor to it.
    Steps: ping the agent.
    Expected: it answers before the deadline.
    """
    silence = None
    try:
        guest.agent.ping()
    except ChannelLost as lost:
        silence = str(lost)
        # A lost host takes every channel along; with the guest still reachable the silence is the agent's own.
        guest.check(("true",))
    assert silence is None, f"expected the guest agent to answer a ping, it does not: {silence}; see the guest's log"
