"""A Xen host whose Debian, its first domain, has no memory left while a run uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.deadline import Deadline
from suites.waiting import wait_until
from tests.lab.kept import SLOW, Kept
from tests.lab.rack import HERE, Rack

pytestmark = pytest.mark.slow  # a Xen host is started for each, and ends badly

REMOTE = "minimal+xen-pv+none"

# tail(1) keeps all of a line that never ends.
EAT = "setsid sh -c 'echo {adjusted} >/proc/self/oom_score_adj; exec tail /dev/zero' >/dev/null 2>&1 </dev/null &"
KILLED = "Out of memory: Killed process"  # mm/oom_kill.c
FIRST_TO_DIE, NEVER_KILLED = 1000, -1000


@pytest.fixture
def rack(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Rack]:
    """On a Xen host of its own: little is left of one."""
    runtime = tmp_path_factory.mktemp("r")
    runtime.chmod(0o700)
    kept = Kept(runtime, "lab-xen")
    kept.up()
    made = Rack(kept, tmp_path, REMOTE, "xen+ssh:///system", network="default")
    yield made
    made.close()
    kept.down()


@pytest.mark.parametrize("adjusted", [FIRST_TO_DIE, NEVER_KILLED], ids=["the eater dies", "others die"])
def test_a_host_without_memory_costs_its_own_cell_at_most(rack: Rack, adjusted: int) -> None:
    run = rack.start("first", "starved", "then")
    rack.wait_for_victim(run)
    rack.kept.call("lab", "shell", rack.kept.host, EAT.format(adjusted=adjusted))
    # The console's file tells nobody that it has grown.
    ran_out = wait_until(lambda: KILLED in rack.kept.console() or run.poll() is not None, Deadline.after(SLOW))
    rack.over.touch()
    status = run.wait(SLOW)
    assert ran_out, "expected memory to run out"
    assert KILLED in rack.kept.console(), rack.printed()
    assert rack.verdicts(HERE) == {"first": "pass", "starved": "pass", "then": "pass"}
    assert rack.decided(HERE)["verdict"] == "certified"
    # Whether the host can be used meanwhile is the host's affair: under a translator a first domain that looks for memory
    # answers nobody for minutes. What must not be is a verdict on the guest.
    decided = rack.decided(REMOTE)
    assert (decided["verdict"], status) in {("certified", 0), ("inconclusive", 3)}, rack.printed()
    if decided["verdict"] == "inconclusive":
        assert "rack" in decided["reason"]
        assert "\n" not in decided["reason"]
    # Nothing of ours is left there, as far as its libvirt still says.
    assert {guest["name"] for guest in rack.kept.status()["guests"]} <= {"Domain-0"}
    assert "Traceback" not in rack.printed()
    assert len(rack.kept.emulators()) == 1, "expected the Xen host itself and nothing else"
