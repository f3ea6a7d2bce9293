"""A lab host that fails while it starts or a cell runs on it: the cell begins again on one that is started anew, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def running(tmp_path: Path, times: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A run in which a probe resets the lab host as often as `times` says."""
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
    run = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words, "-n1", "--no-html", "--out", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "FAULT_TIMES": str(tmp_path / "times")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield run
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
            run.wait(SECONDS)


def told(run: subprocess.Popen[str], tmp_path: Path) -> tuple[str, list[dict[str, Any]]]:
    """What a run printed, and its events, when it is over."""
    printed, _ = run.communicate(timeout=SECONDS)
    assert "Traceback" not in printed
    return printed, [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]


def of_kind(kind: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def lab_host_processes(evidence: Path) -> set[int]:
    """The QEMUs of a run's lab hosts, which libvirt hands the files of the run's folder open."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            process = file.parent.parent
            if file.readlink().is_relative_to(evidence / "lab-hosts"):
                found |= {int(process.name)} if "qemu-system" in (process / "exe").readlink().name else set()
    return found


def kill_until_given_up(run: subprocess.Popen[str], evidence: Path) -> None:
    """Let no lab host come up, neither restored nor booted, until its cell has lost it once."""
    killed: set[int] = set()
    given_up = evidence / "lost-hosts" / f"lab-kvm@{CELL}.before"
    while run.poll() is None and not given_up.exists():
        for pid in lab_host_processes(evidence) - killed:
            with suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGSEGV)
            killed.add(pid)
        time.sleep(0.1)


@pytest.mark.parametrize("times", [1, 2], ids=["once", "again"])
def test_a_lab_host_that_resets_itself(tmp_path: Path, times: int) -> None:
    with running(tmp_path, times) as run:
        printed, events = told(run, tmp_path)
    moves = of_kind("cell_moved", events)
    assert [(move["lost"], move["host"], move["again"]) for move in moves] == [("lab-kvm", "lab-kvm", True)], printed
    assert "reset itself" in moves[0]["reason"]
    (decided,) = of_kind("cell_decided", events)
    expected = ("certified", 0) if times == 1 else ("inconclusive", 3)
    assert (decided["verdict"], run.returncode) == expected, printed
    if times == 2:
        assert "reset itself" in decided["reason"]
    # Each left its logs, whichever worker started it.
    assert len(list((tmp_path / "out" / "evidence" / "lab-hosts").glob("*/*/hypervisor.log"))) == 2


def test_a_lab_host_that_dies_while_it_starts(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        kill_until_given_up(run, tmp_path / "out" / "evidence")
        printed, events = told(run, tmp_path)
    (move,) = of_kind("cell_moved", events)
    assert (move["lost"], move["host"]) == ("lab-kvm", "lab-kvm"), printed
    # libvirt's word for it while it starts the domain, ours for it later.
    assert any(words in move["reason"] for words in ("closed the monitor", "ended by itself"))
    (decided,) = of_kind("cell_decided", events)
    assert (decided["verdict"], run.returncode) == ("certified", 0), printed
