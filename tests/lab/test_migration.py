"""Two lab hosts of a kind: guests go from one to the other while they run, and nothing is left where they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.options import CHECKOUT

pytestmark = pytest.mark.slow

SECONDS = 2400
"""Images of lab hosts may have to be built, booted and measured first, and all of that under a translator."""

PROBES = """
import pytest

from fixtures.guest import State

@pytest.mark.requires("migration")
def test_there_and_back(migratable_guest, second_host):
    guest, home = migratable_guest, migratable_guest.host
    boot_id, uuid, first = guest.boot_id(), guest.domain.uuid, guest.plumbing
    guest.check(["sh", "-c", "echo kept >/tmp/kept"])
    for here, there in ((home, second_host), (second_host, home)):
        left = guest.plumbing
        went = guest.migrate(there)
        assert (went.source, went.destination) == (here.id, there.id)
        assert guest.state is State.READY
        assert guest.boot_id() == boot_id
        assert guest.check(["cat", "/tmp/kept"]) == "kept\\n"
        assert guest.domain.uuid == uuid
        assert here.connection.lookup(uuid) is None
        assert here.shell.run(["test", "-e", str(left.folder)]).status != 0
        assert [domain.uuid for domain in there.connection.domains()] == [uuid]
    guest.power_off()
    assert home.connection.lookup(uuid) is not None, "it is defined where it is now"
    guest.start()
    assert guest.boot_id() != boot_id
    guest.close()
    for host in (home, second_host):
        assert host.connection.domains() == []
        assert host.shell.run(["test", "-e", str(first.folder)]).status != 0

@pytest.mark.requires("migration")
def test_a_guest_that_cannot_go_stays(migratable_guest, second_host):
    from fixtures.deadline import Deadline
    from fixtures.faults import GuestFault

    guest, home = migratable_guest, migratable_guest.host
    boot_id, uuid = guest.boot_id(), guest.domain.uuid
    with second_host.reached_at("10.77.0.3", home):  # where nobody is
        with pytest.raises(GuestFault, match=f"from host {home.id} to host {second_host.id}"):
            guest.migrate(second_host, Deadline.after(120 * home.patience))
    assert (guest.host, guest.state) == (home, State.READY)
    assert guest.boot_id() == boot_id
    assert second_host.connection.domains() == []
    assert second_host.shell.run(["sh", "-c", "ls /var/lib/guestcert/live"]).text.split() == []
"""

NAMES = (
    "lifecycle/live_migration",
    "lifecycle/migration_under_load",
    "moving/there_and_back",
    "moving/a_guest_that_cannot_go_stays",
)


@pytest.mark.parametrize(
    ("kind", "cell"),
    [("lab-kvm", "minimal+kvm+svm"), ("lab-xen", "minimal+xen-pv+none"), ("lab-xen", "minimal+xen-pvh+svm")],
    ids=["kvm", "xen-pv", "xen-pvh"],
)
def test_a_guest_migrates_between_two_lab_hosts(kind: str, cell: str, tmp_path: Path) -> None:
    mine, moving = tmp_path / "mine", tmp_path / "suites" / "moving"
    mine.mkdir()
    moving.mkdir(parents=True)
    (moving / "test_moving.py").write_text(PROBES)
    (mine / "profiles.yaml").write_text(json.dumps({"profiles": [{"id": "lab", "required": NAMES}]}))
    words = ["run", "--matrix", str(mine), "--suites", str(moving.parent), "--profile", "lab", "-n1", "--no-html"]
    words += ["--hosts", kind, "--hosts", f"{kind}-2", "--cell", cell, "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    verdicts = {event["probe"]: event["verdict"] for event in events if event["event"] == "probe_finished"}
    assert verdicts == dict.fromkeys(NAMES, "pass")
    metrics = {metric["name"] for event in events if event["event"] == "probe_finished" for metric in event["metrics"]}
    assert {"migration_downtime", "migration_total", "migration_downtime_under_load"} <= metrics
