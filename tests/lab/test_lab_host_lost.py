"""A lab host that fails while a cell runs on it: the cell is run again on one that is started anew, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.options import CHECKOUT

pytestmark = pytest.mark.slow  # two lab hosts are started and a guest is booted twice

SECONDS = 2400
CELL = "minimal+kvm+svm"

PROBES = """
import os
from pathlib import Path

from fixtures.deadline import Deadline

RESET = "echo 1 >/proc/sys/kernel/sysrq; echo b >/proc/sysrq-trigger"
TIMES = Path(os.environ["FAULT_TIMES"])

def again():
    left = int(TIMES.read_text())
    TIMES.write_text(str(left - 1))
    return left > 0

def test_first(guest):
    assert guest.check(["echo", "here"]) == "here\\n"

def test_reset(guest):
    if again():
        guest.host.shell.open_command(["sh", "-c", RESET], Deadline.after(60))
    guest.check(["sleep", "20"], timeout=300)
"""


def ran(tmp_path: Path, times: int) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """A run in which the lab host fails as often as `times` says, and its events."""
    mine = tmp_path / "mine"
    mine.mkdir()
    profile = {"id": "fault", "required": ["fault/first", "fault/reset"]}
    (mine / "profiles.yaml").write_text(json.dumps({"profiles": [profile]}))
    (tmp_path / "suites" / "fault").mkdir(parents=True)
    (tmp_path / "suites" / "fault" / "test_fault.py").write_text(PROBES)
    (tmp_path / "times").write_text(str(times))
    words = [
        "run",
        "--matrix",
        "mine",
        "--suites",
        "suites",
        "--profile",
        "fault",
        "--hosts",
        "lab-kvm",
        "--cell",
        CELL,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words, "-n1", "--no-html", "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "FAULT_TIMES": str(tmp_path / "times")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    return done, events


@pytest.mark.parametrize("times", [1, 2], ids=["once", "again"])
def test_a_lab_host_that_resets_itself(tmp_path: Path, times: int) -> None:
    done, events = ran(tmp_path, times)
    moves = [event for event in events if event["event"] == "cell_moved"]
    assert [(move["lost"], move["host"], move["again"]) for move in moves] == [("lab-kvm", "lab-kvm", True)], (
        done.stdout
    )
    assert "reset itself" in moves[0]["reason"]
    (decided,) = [event for event in events if event["event"] == "cell_decided"]
    expected = ("certified", 0) if times == 1 else ("inconclusive", 3)
    assert (decided["verdict"], done.returncode) == expected, done.stdout + done.stderr
    if times == 2:
        assert "reset itself" in decided["reason"]
    assert "Traceback" not in done.stdout + done.stderr
    # Each left its logs, whichever worker started it.
    assert len(list((tmp_path / "out" / "evidence" / "lab-hosts").glob("*/*/hypervisor.log"))) == 2
