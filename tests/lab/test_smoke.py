"""The software lab in short: the smallest guest goes through real KVM and real Xen, each in a host that is a guest of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.options import CHECKOUT

SECONDS = 1500
"""Images of lab hosts may have to be built, booted and measured first, five minutes each on two idle cores."""

# What says that the hypervisor really ran it: the rest of the smoke profile wants more of a guest than a busybox has.
PROBES = ("boot/cold_boot", "boot/console_speaks", "cpu/vcpu_count", "cpu/hypervisor_identified", "memory/size_seen")


@pytest.mark.parametrize(
    ("hosts", "cell"),
    [
        pytest.param("lab-kvm", "minimal+kvm+svm", id="kvm"),
        pytest.param("lab-xen", "minimal+xen-pv+none", id="xen-pv"),
        pytest.param("lab-xen", "minimal+xen-pvh+svm", id="xen-pvh", marks=pytest.mark.slow),
    ],
)
def test_a_lab_host_certifies_the_smallest_guest(hosts: str, cell: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "profiles.yaml").write_text(f"profiles: [{{id: lab, required: [{', '.join(PROBES)}]}}]")
    words = ["run", "--matrix", str(mine), "--profile", "lab", "--hosts", hosts, "--cell", cell, "-n1", "--no-html"]
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words, "--out", str(tmp_path / "out")],
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
    assert verdicts == dict.fromkeys(PROBES, "pass")
    (decided,) = [event for event in events if event["event"] == "cell_decided" and event["cell"] == cell]
    assert decided["verdict"] == "certified"
