"""`guestcert lab` with a real lab host: up, looked at, gone in, down; and what is left when somebody interferes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from fixtures.connection import Connection
from tests.lab.kept import SLOW, Kept

pytestmark = pytest.mark.slow  # lab hosts are started, broken and ended, each for minutes

HOST = "lab-kvm"


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    runtime = tmp_path_factory.mktemp("r")
    runtime.chmod(0o700)
    found = Kept(runtime, HOST)
    yield found
    found.down()


def test_up_looked_at_gone_in_and_down(lab: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_killed_keeper_is_seen_and_cleared_up_after(lab: Kept) -> None:
    os.kill(lab.up()["pid"], signal.SIGKILL)
    assert lab.status()["state"] == "killed"
    assert len(lab.emulators()) == 1  # libvirt's embedded driver leaves it running
    clean = lab.call("clean")
    assert clean.returncode == 0
    assert f"record of lab host {HOST}" in clean.stdout
    assert lab.emulators() == []
    assert json.loads(lab.call("lab", "status", "--json").stdout) == []


def test_an_interrupted_start_leaves_nothing(lab: Kept) -> None:
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


def test_probing_it_finds_kvm_on_amd_v_that_really_runs(lab: Kept) -> None:
    probed = lab.call("hosts", "probe", HOST, "--json")
    assert probed.returncode == 0, probed.stderr
    (measured,) = json.loads(probed.stdout)
    capabilities = measured["capabilities"]
    assert (capabilities["hypervisor.kvm"], capabilities["extension.svm"]) == (True, True)
    assert not capabilities.get("extension.vmx")
