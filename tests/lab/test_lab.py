"""`guestcert lab` with a real lab host: up, looked at, gone in, down; and what is left when somebody interferes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fixtures.connection import Connection
from matrix.places import cache_dir

HOST = "lab-kvm"
SLOW = 900.0


class Lab:
    """The command, with a runtime folder of its own and the cache that everybody uses."""

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        self.environment = {
            **os.environ,
            "GUESTCERT_RUNTIME_DIR": str(runtime),
            "GUESTCERT_CACHE_DIR": str(cache_dir()),
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *words]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SLOW,
            check=False,
        )

    def up(self) -> dict[str, Any]:
        """Start the lab host; what `lab status --json` says of it then."""
        done = self.call("lab", "up", HOST)
        assert done.returncode == 0, done.stderr
        return self.status()

    def status(self) -> dict[str, Any]:
        (found,) = json.loads(self.call("lab", "status", "--json").stdout)
        assert isinstance(found, dict)
        return found

    def emulators(self) -> list[psutil.Process]:
        """QEMU processes that work in our runtime folder."""
        return [
            process
            for process in psutil.process_iter(["cmdline", "name"])
            if (process.info["name"] or "").startswith("qemu")
            and any(f"{self.runtime}/" in word for word in process.info["cmdline"] or ())
        ]

    def left(self) -> list[str]:
        """Files and sockets in our runtime folder."""
        return [str(path.relative_to(self.runtime)) for path in self.runtime.rglob("*") if not path.is_dir()]


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    runtime = tmp_path_factory.mktemp("r")
    runtime.chmod(0o700)
    found = Lab(runtime)
    yield found
    found.call("lab", "down")
    found.call("clean")
    assert found.emulators() == []


def test_up_looked_at_gone_in_and_down(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    up = lab.up()
    assert (up["host"], up["state"], up["problem"], up["guests"]) == (HOST, "up", None, [])
    assert 0 < up["free_mib"] < up["memory_mib"]
    assert len(lab.emulators()) == 1
    again = lab.call("lab", "up", HOST)
    assert (again.returncode, again.stderr) == (2, f"lab: {HOST}: is already up; see: guestcert lab status\n")

    inside = lab.call("lab", "shell", HOST, "printf", "%s|", "a  b", "$(id)")
    assert (inside.returncode, inside.stdout) == (0, "a  b|$(id)|")
    line = lab.call("lab", "shell", HOST, "grep -c svm /proc/cpuinfo; test -c /dev/kvm || exit 9; exit 7")
    assert (line.returncode, line.stdout.strip()) == (7, "2")

    monkeypatch.setenv("GUESTCERT_RUNTIME_DIR", str(lab.runtime))
    connection = Connection.open(up["reached"]["uri"])
    assert connection.size()[0] == 2
    connection.raw.createXML(
        "<domain type='qemu'><name>looker</name><memory>16384</memory><os><type>hvm</type></os></domain>"
    )
    assert lab.status()["guests"] == [{"name": "looker", "state": "running"}]
    assert "looker (running)" in lab.call("lab", "status").stdout
    connection.close()

    down = lab.call("lab", "down", HOST)
    assert (down.returncode, down.stdout) == (0, f"{HOST} is down\n")
    assert not psutil.pid_exists(up["pid"]) or psutil.Process(up["pid"]).status() == psutil.STATUS_ZOMBIE
    assert lab.emulators() == []
    assert [name for name in lab.left() if not name.startswith("libvirt-")] == []


def test_a_killed_keeper_is_seen_and_cleared_up_after(lab: Lab) -> None:
    os.kill(lab.up()["pid"], signal.SIGKILL)
    assert lab.status()["state"] == "killed"
    assert len(lab.emulators()) == 1  # libvirt's embedded driver leaves it running
    clean = lab.call("clean")
    assert clean.returncode == 0
    assert f"record of lab host {HOST}" in clean.stdout
    assert lab.emulators() == []
    assert json.loads(lab.call("lab", "status", "--json").stdout) == []


def test_an_interrupted_start_leaves_nothing(lab: Lab) -> None:
    with subprocess.Popen(
        lab.command("lab", "up", HOST), env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as starting:
        assert starting.stderr is not None
        for line in starting.stderr:  # it may have an image to build first
            if line.startswith(f"starting {HOST}"):
                break
        starting.send_signal(signal.SIGINT)
        _, error = starting.communicate(timeout=SLOW)
    assert starting.returncode == 130, error
    assert lab.emulators() == []
    assert [name for name in lab.left() if not name.startswith("libvirt-")] == []


def test_probing_it_finds_kvm_on_amd_v_that_really_runs(lab: Lab) -> None:
    probed = lab.call("hosts", "probe", HOST, "--json")
    assert probed.returncode == 0, probed.stderr
    (measured,) = json.loads(probed.stdout)
    capabilities = measured["capabilities"]
    assert (capabilities["hypervisor.kvm"], capabilities["extension.svm"]) == (True, True)
    assert not capabilities.get("extension.vmx")
