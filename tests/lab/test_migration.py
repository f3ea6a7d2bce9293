"""Two lab hosts of a kind: guests go from one to the other while they run, and nothing is left where they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.options import CHECKOUT

pytestmark = pytest.mark.slow

SECONDS = 2400
"""Images of lab hosts may have to be built, booted and measured first, and all of that under a translator."""

PROBES = """
import pytest

from fixtures.guest import State

def guests(host):
    return [domain.uuid for domain in host.connection.domains() if domain.name.startswith("gc-")]

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
        assert guests(there) == [uuid]
    guest.power_off()
    assert home.connection.lookup(uuid) is not None, "it is defined where it is now"
    guest.start()
    assert guest.boot_id() != boot_id
    guest.close()
    for host in (home, second_host):
        assert guests(host) == []
        assert host.shell.run(["test", "-e", str(first.folder)]).status != 0

@pytest.mark.requires("migration")
def test_a_guest_that_cannot_go_stays(migratable_guest, second_host):
    from fixtures.deadline import Deadline
    from fixtures.faults import GuestFault

    guest, home = migratable_guest, migratable_guest.host
    boot_id, uuid = guest.boot_id(), guest.domain.uuid
    with second_host.reached_at("10.77.0.9", home):  # where it cannot listen
        with pytest.raises(GuestFault, match=f"from host {home.id} to host {second_host.id}"):
            guest.migrate(second_host, Deadline.after(120 * home.patience))
    assert (guest.host, guest.state) == (home, State.READY)
    assert guest.boot_id() == boot_id
    assert guests(second_host) == []
    assert second_host.shell.run(["sh", "-c", "ls /var/lib/guestcert/live"]).text.split() == []
"""

NAMES = ("lifecycle/live_migration", "lifecycle/migration_under_load", "moving/there_and_back")
STAYS = "moving/a_guest_that_cannot_go_stays"
"""Not on Xen: a migration that fails to begin leaves a domain that libvirt (9.0) does not end any more."""


def run(folder: Path, kind: str, cell: str, names: Sequence[str]) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit status and output of a run on both hosts of a kind, and how each probe finished."""
    mine, moving = folder / "mine", folder / "suites" / "moving"
    mine.mkdir()
    moving.mkdir(parents=True)
    (moving / "test_moving.py").write_text(PROBES)
    # A probe that no profile speaks of would run as well.
    profiles = [{"id": "lab", "required": names}, {"id": "all", "required": (*NAMES, STAYS)}]
    (mine / "profiles.yaml").write_text(json.dumps({"profiles": profiles}))
    words = ["run", "--matrix", str(mine), "--suites", str(moving.parent), "--profile", "lab", "-n1", "--no-html"]
    words += ["--hosts", kind, "--hosts", f"{kind}-2", "--cell", cell, "--out", str(folder / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    events = [json.loads(line) for line in (folder / "out" / "events.jsonl").read_text().splitlines()]
    finished = [event for event in events if event["event"] == "probe_finished"]
    return done.returncode, done.stdout + done.stderr, finished


@pytest.mark.parametrize(
    ("kind", "cell", "names"),
    [("lab-kvm", "minimal+kvm+svm", (*NAMES, STAYS)), ("lab-xen", "minimal+xen-pvh+svm", NAMES)],
    ids=["kvm", "xen-pvh"],
)
def test_a_guest_migrates_between_two_lab_hosts(kind: str, cell: str, names: tuple[str, ...], tmp_path: Path) -> None:
    status, said, finished = run(tmp_path, kind, cell, names)
    assert status == 0, said
    assert {event["probe"]: event["verdict"] for event in finished} == dict.fromkeys(names, "pass"), said
    metrics = {metric["name"] for event in finished for metric in event["metrics"]}
    assert {"migration_downtime", "migration_total", "migration_downtime_under_load"} <= metrics


def test_a_pv_guest_stays_where_xen_does_not_see_what_it_writes(tmp_path: Path) -> None:
    status, said, finished = run(tmp_path, "lab-xen", "minimal+xen-pv+none", NAMES)
    assert status != 0, said
    assert {event["probe"]: event["verdict"] for event in finished} == dict.fromkeys(NAMES, "skip"), said
    assert {event["reason"] for event in finished} == {"setup: no migration"}
