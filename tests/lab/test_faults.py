"""What goes wrong with a machine elsewhere while a run uses it. The machine is a lab host that is kept up beside the run.

The run knows it only by address, login and host key, as it knows any machine of a rack.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.kept import SLOW, Kept

pytestmark = pytest.mark.slow  # runs of minutes, in which machines die

REMOTE = "minimal+kvm+svm"
HERE = "minimal+qemu-tcg+none"

PROBES = """
import os

CRASH = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"

def test_first(guest):
    assert guest.check(["echo", "here"]) == "here\\n"

def test_victim(guest):
    if guest.definition.hypervisor == "kvm":
        with open(os.environ["FAULT_FIFO"], "w") as fifo:
            fifo.write("now")
    guest.check(["sleep", "30"], timeout=300)

def test_crashes(guest):
    guest.run(["sh", "-c", CRASH], timeout=300)

def test_then(guest):
    assert guest.check(["echo", "still here"]) == "still here\\n"
"""

ALL = ("first", "victim", "crashes", "then")


class Rack:
    """A folder with a lab of one machine, and runs on it."""

    def __init__(self, kept: Kept, folder: Path) -> None:
        self.kept, self.folder = kept, folder
        self._run: subprocess.Popen[str] | None = None
        reached = kept.status()["reached"]
        *_, kind, key = Path(reached["known_hosts"]).read_text().split()
        self.address = f"127.0.0.1:{reached['port']}"
        self.identity, self.host_key = reached["identity"], f"{kind} {key}"
        (folder / "mine" / "hosts").mkdir(parents=True)
        (folder / "suites" / "fault").mkdir(parents=True)
        (folder / "suites" / "fault" / "test_fault.py").write_text(PROBES)
        self.fifo = folder / "fifo"
        os.mkfifo(self.fifo)
        self._reading = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)

    def start(self, *probes: str, **login: str) -> subprocess.Popen[str]:
        """A run of `probes` on the machine and, side by side, on this one."""
        entry = {
            "id": "rack",
            "uri": f"qemu+ssh://{self.address}/system",
            "login": {"identity": self.identity, "host_key": self.host_key} | login,
            "limits": {"guests": 2},
        }
        mine = self.folder / "mine"
        (mine / "hosts" / "rack.yaml").write_text(
            json.dumps({"hosts": [{"id": "local", "uri": "qemu:///embed"}, entry]})
        )
        # A probe that no profile speaks of would run as well.
        profiles = [("fault", probes), ("all", ALL)]
        (mine / "profiles.yaml").write_text(
            json.dumps(
                {"profiles": [{"id": id_, "required": [f"fault/{name}" for name in names]} for id_, names in profiles]}
            )
        )
        words = ["run", "--matrix", "mine", "--suites", "suites", "--hosts", "rack", "--profile", "fault", "--no-html"]
        self._run = subprocess.Popen(
            self.kept.command(*words, "--cell", REMOTE, "--cell", HERE, "--out", "out"),
            cwd=self.folder,
            env={**self.kept.environment, "FAULT_FIFO": str(self.fifo)},
            stdout=(self.folder / "printed").open("w"),
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self._run

    def close(self) -> None:
        """End the run if the test did not see its end."""
        if self._run is not None and self._run.poll() is None:
            self._run.terminate()
            self._run.wait(SLOW)
        os.close(self._reading)

    def wait_for_victim(self, run: subprocess.Popen[str]) -> None:
        """Until the victim probe runs on the machine."""
        ended = os.pidfd_open(run.pid)
        readable, _, _ = select.select([self._reading, ended], [], [], SLOW)
        os.close(ended)
        assert self._reading in readable, f"the victim probe never ran:\n{self.printed()}"

    def printed(self) -> str:
        return (self.folder / "printed").read_text()

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.folder / "out" / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def decided(self, cell: str) -> dict[str, Any]:
        (found,) = [event for event in self.events("cell_decided") if event["cell"] == cell]
        return found

    def verdicts(self, cell: str) -> dict[str, str]:
        finished = [event for event in self.events("probe_finished") if event["cell"] == cell]
        return {event["probe"].partition("/")[2]: event["verdict"] for event in finished}


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
    made = Rack(kept, tmp_path)
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
