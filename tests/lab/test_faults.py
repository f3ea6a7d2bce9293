"""What goes wrong with a machine elsewhere while a run uses it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kept import SLOW, Kept
from tests.lab.rack import HERE, Rack

pytestmark = pytest.mark.slow  # runs of minutes, in which machines die

REMOTE = "minimal+kvm+svm"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    runtime = tmp_path_factory.mktemp("r")
    runtime.chmod(0o700)
    found = Kept(runtime, "lab-kvm")
    found.up()
    yield found
    found.down()


@pytest.fixture
def rack(kept: Kept, tmp_path: Path) -> Iterator[Rack]:
    made = Rack(kept, tmp_path, REMOTE, "qemu+ssh:///system")
    yield made
    made.close()


def test_a_guest_that_crashes_there_fails_its_probe_and_the_next_gets_another(rack: Rack) -> None:
    assert rack.start("first", "crashes", "then").wait(SLOW) == 1, rack.printed()
    for cell in (REMOTE, HERE):
        assert rack.verdicts(cell) == {"first": "pass", "crashes": "fail", "then": "pass"}, rack.printed()
    assert rack.kept.status()["guests"] == []


@pytest.mark.parametrize("wrong", ["identity", "host_key"])
def test_a_wrong_key_is_one_line_and_costs_only_that_machine(rack: Rack, wrong: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    public = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    assert rack.start("first", **{wrong: str(other) if wrong == "identity" else public}).wait(SLOW) == 0, rack.printed()
    assert rack.verdicts(HERE) == {"first": "pass"}
    decided = rack.decided(REMOTE)
    assert decided["verdict"] == "untested"
    assert rack.address.partition(":")[0] in decided["reason"]
    assert ("authentication" if wrong == "identity" else "host key") in decided["reason"].lower()
    assert "\n" not in decided["reason"]
    assert "Traceback" not in rack.printed()


def test_a_libvirt_that_is_restarted_costs_its_own_cells_only(rack: Rack) -> None:
    run = rack.start("first", "victim", "then")
    rack.wait_for_victim(run)
    done = rack.kept.call("lab", "shell", rack.kept.host, "systemctl restart libvirtd")
    assert done.returncode == 0, done.stderr
    assert run.wait(SLOW) == 3, rack.printed()
    assert rack.decided(HERE)["verdict"] == "certified"
    decided = rack.decided(REMOTE)
    assert decided["verdict"] == "inconclusive"
    assert "libvirt" in decided["reason"]
    assert "Traceback" not in rack.printed()


def test_a_machine_that_dies_costs_its_own_cells_only(rack: Rack) -> None:  # the last one: nothing is left of it
    run = rack.start("first", "victim", "then")
    rack.wait_for_victim(run)
    rack.kept.kill()
    assert run.wait(SLOW) == 3, rack.printed()
    assert rack.verdicts(HERE) == {"first": "pass", "victim": "pass", "then": "pass"}
    assert rack.decided(HERE)["verdict"] == "certified"
    decided = rack.decided(REMOTE)
    assert decided["verdict"] == "inconclusive"
    assert "rack" in decided["reason"]
    assert "Traceback" not in rack.printed()
