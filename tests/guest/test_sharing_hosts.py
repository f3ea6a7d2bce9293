"""A whole run on a host that somebody else is using: it waits, says for whom, and goes on when there is room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.deadline import Deadline
from fixtures.lease import Room, take
from fixtures.options import CHECKOUT
from fixtures.this_machine import ThisMachine
from matrix.places import lease_dir

SECONDS = 600
"""For a run: twenty times what it takes on a free machine."""


def test_a_run_waits_for_its_turn_on_a_busy_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUESTCERT_LEASE_DIR", str(tmp_path / "leases"))
    (tmp_path / "lab.yaml").write_text("hosts: [{id: small, uri: 'qemu:///embed', limits: {guests: 2}}]")
    room = Room(2, 1 << 20)
    lease = take(
        ThisMachine().attach,
        "small",
        str(lease_dir()),
        Room(2, 512),
        room,
        here=True,
        run_id="of-somebody-else",
        deadline=Deadline.after(SECONDS),
        say=print,
    )
    words = ["run", "--hosts", "lab.yaml", "--guest", "minimal", "--hypervisor", "qemu-tcg", "--profile", "console"]
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words, "--no-html", "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        said = next(line for line in run.stdout if line.startswith("waiting for host small"))
        assert "run of-somebody-else, process" in said
        lease.close()
        assert run.wait(SECONDS) == 0, run.stdout.read()
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds.index("probe_started") < kinds.index("noticed") < kinds.index("probe_finished")
    assert not list((tmp_path / "leases").glob("*.lease"))
