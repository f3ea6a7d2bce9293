"""A folder with a lab of one machine, which is a lab host that is kept up beside the run, and runs on it.

A run knows the machine only by address, login and host key, as it knows any machine of a rack.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from pathlib import Path
from typing import Any

from tests.lab.kept import SLOW, Kept

HERE = "minimal+qemu-tcg+none"

PROBES = """
import os

CRASH = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"

def test_first(guest):
    assert guest.check(["echo", "here"]) == "here\\n"

def test_victim(guest):
    if guest.definition.hypervisor != "qemu-tcg":
        with open(os.environ["FAULT_FIFO"], "w") as fifo:
            fifo.write("now")
    guest.check(["sleep", "30"], timeout=300)

def test_starved(guest):
    if guest.definition.hypervisor != "qemu-tcg":
        with open(os.environ["FAULT_FIFO"], "w") as fifo:
            fifo.write("now")
        while not os.path.exists(os.environ["FAULT_OVER"]):
            guest.check(["sleep", "1"], timeout=300)

def test_crashes(guest):
    guest.run(["sh", "-c", CRASH], timeout=300)

def test_then(guest):
    assert guest.check(["echo", "still here"]) == "still here\\n"
"""

ALL = ("first", "victim", "starved", "crashes", "then")


class Rack:
    """A folder with a lab of one machine, and runs of `remote`, a cell of that machine, and of `HERE`, side by side.

    `uri` is the machine's libvirt without the address ("qemu+ssh:///system"), `network` that of its guests.
    """

    def __init__(self, kept: Kept, folder: Path, remote: str, uri: str, network: str = "user") -> None:
        self.kept, self.folder, self.remote = kept, folder, remote
        self._uri, self._network = uri, network
        self._run: subprocess.Popen[str] | None = None
        reached = kept.status()["reached"]
        *_, kind, key = Path(reached["known_hosts"]).read_text().split()
        self.address = f"127.0.0.1:{reached['port']}"
        self.identity, self.host_key = reached["identity"], f"{kind} {key}"
        (folder / "mine" / "hosts").mkdir(parents=True)
        (folder / "suites" / "fault").mkdir(parents=True)
        (folder / "suites" / "fault" / "test_fault.py").write_text(PROBES)
        self.fifo = folder / "fifo"
        self.over = folder / "over"
        """The probe `starved` uses its guest until this is there."""
        os.mkfifo(self.fifo)
        self._reading = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)

    def start(self, *probes: str, **login: str) -> subprocess.Popen[str]:
        """A run of `probes` on the machine and, side by side, on this one."""
        entry = {
            "id": "rack",
            "uri": self._uri.replace("///", f"//{self.address}/"),
            "network": self._network,
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
            self.kept.command(*words, "--cell", self.remote, "--cell", HERE, "--out", "out"),
            cwd=self.folder,
            env={**self.kept.environment, "FAULT_FIFO": str(self.fifo), "FAULT_OVER": str(self.over)},
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
        """Until the probe that is to be disturbed runs on the machine."""
        ended = os.pidfd_open(run.pid)
        readable, _, _ = select.select([self._reading, ended], [], [], SLOW)
        os.close(ended)
        assert self._reading in readable, f"the probe to be disturbed never ran:\n{self.printed()}"

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
