"""Does the guest's agent answer?"""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from fixtures.deadline import Deadline
from fixtures.faults import ChannelLost
from fixtures.guest import Guest
from suites.bounds import Bounds, load_bounds
from suites.waiting import wait_until


class AgentBounds(Bounds):
    """`bounds.yaml`: seconds."""

    answer_s: float = Field(gt=0)


def agent_bounds() -> AgentBounds:
    """The bounds beside this module."""
    return load_bounds(Path(__file__).with_name("bounds.yaml"), AgentBounds)


@pytest.mark.requires("agent")
def test_ping(guest: Guest) -> None:
    """The guest agent answers the hypervisor.

    Preconditions: an agent in the guest and a channel of the hypervisor to it.
    Steps: ping the agent until it answers.
    Expected: it answers before the deadline.
    """
    deadline = Deadline.after(agent_bounds().answer_s)
    silence = ["it was not asked"]

    def answers() -> bool:
        try:
            guest.agent.ping()
        except ChannelLost as lost:
            silence.append(str(lost))
            # A lost host takes every channel along; with the guest still reachable the silence is the agent's own.
            guest.check(guest.family.nothing)
            return False
        return True

    assert wait_until(answers, deadline), (
        f"expected the guest agent to answer a ping within {deadline.span:g} s, it does not: {silence[-1]}"
    )
