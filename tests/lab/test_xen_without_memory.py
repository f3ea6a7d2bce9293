"""A Xen host whose Debian, its first domain, has no memory left while a run uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kept import SLOW, Kept
from tests.lab.rack import HERE, Rack

pytestmark = pytest.mark.slow  # a Xen host is started for each, and ends badly

REMOTE = "minimal+xen-pv+none"

# tail(1) keeps all of a line that never ends.
EAT = "setsid sh -c 'echo {adjusted} >/proc/self/oom_score_adj; exec tail /dev/zero' >/dev/null 2>&1 </dev/null &"
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


def test_a_host_that_gets_its_memory_back_costs_nothing(rack: Rack) -> None:
    before = rack.kept.left()
    run = rack.start("first", "victim", "then")
    rack.wait_for_victim(run)
    assert rack.kept.call("lab", "shell", rack.kept.host, EAT.format(adjusted=FIRST_TO_DIE)).returncode == 0
    assert run.wait(SLOW) == 0, rack.printed()
    for cell in (REMOTE, HERE):
        assert rack.decided(cell)["verdict"] == "certified"
    killed = rack.kept.call("lab", "shell", rack.kept.host, "dmesg | grep -c 'Out of memory: Killed process.*tail'")
    assert killed.stdout.strip() == "1", killed
    assert "Traceback" not in rack.printed()
    assert [guest["name"] for guest in rack.kept.status()["guests"]] == ["Domain-0"]
    assert rack.kept.left() == before


def test_a_host_whose_memory_is_gone_costs_its_own_cell_only(rack: Rack) -> None:
    run = rack.start("first", "victim", "then")
    rack.wait_for_victim(run)
    rack.kept.call("lab", "shell", rack.kept.host, EAT.format(adjusted=NEVER_KILLED))
    assert run.wait(SLOW) == 3, rack.printed()
    assert rack.verdicts(HERE) == {"first": "pass", "victim": "pass", "then": "pass"}
    assert rack.decided(HERE)["verdict"] == "certified"
    decided = rack.decided(REMOTE)
    assert decided["verdict"] == "inconclusive"
    assert "rack" in decided["reason"]
    assert "\n" not in decided["reason"]
    assert "Traceback" not in rack.printed()
    assert len(rack.kept.emulators()) == 1  # the Xen host itself
