"""Whether anybody reads what a run shows, or its terminal is still there, decides nothing about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from fixtures.display import display
from tests.unit.run.conftest import CELLS, Run

pytest_plugins = ["pytester"]

WAIT = 100

PROBES = "def test_first(cell): pass\ndef test_second(cell): pass\n"
SLOW = "import signal\ndef test_first(cell): pass\ndef test_second(cell): signal.pause()\n"
NAMES = ["area/first", "area/second"]


def into_a_closed_pipe(command: list[str]) -> int:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(command, stdout=writing, stderr=writing, timeout=WAIT, check=False).returncode
    finally:
        os.close(writing)


class Terminal:
    """A pseudo-terminal that a command controls and somebody watches until `sign`, who then does `last` to it."""

    def __init__(self, sign: bytes, last: Callable[[int, int], None]) -> None:
        self._sign, self._last = sign, last

    def __call__(self, command: list[str]) -> int:
        ours, theirs = os.openpty()
        with closing(os.fdopen(theirs, "r+b", buffering=0)) as end:
            environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
            # These tests may themselves run under nohup, whose deafness is inherited.
            hearing = ["env", "--default-signal=HUP", "setsid", "--ctty", *command]
            process = subprocess.Popen(hearing, stdin=end, stdout=end, stderr=end, env=environment)
        try:
            seen = b""
            while self._sign not in seen:
                seen += os.read(ours, 65536)
            self._last(process.pid, ours)
            return process.wait(WAIT)
        finally:
            process.kill()
            process.wait()


def closed(pid: int, ours: int) -> None:
    os.close(ours)


def closed_with_a_shell(pid: int, ours: int) -> None:
    """A shell hands SIGHUP on to its jobs; when it has ended, the kernel tells them, too."""
    os.close(ours)
    for _ in range(2):
        os.killpg(pid, signal.SIGHUP)


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_run_whose_output_nobody_reads_goes_on_to_its_true_end(run: Run, workers: str) -> None:
    seen = run({"area/test_some.py": PROBES}, workers, probes=NAMES, end=into_a_closed_pipe)
    assert len(seen.verdicts()) == len(NAMES) * len(CELLS)
    assert seen.events[-1]["event"] == "run_finished"
    assert seen.status == 0


def test_what_fails_unseen_fails(run: Run) -> None:
    failing = PROBES.replace("pass", "assert 0, 'no'")
    seen = run({"area/test_some.py": failing}, "-n1", probes=NAMES, end=into_a_closed_pipe)
    assert set(seen.verdicts().values()) == {"fail"}
    assert seen.status == 1


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
@pytest.mark.parametrize("how", [closed, closed_with_a_shell])
def test_a_run_whose_terminal_is_closed_keeps_its_verdicts(
    run: Run, workers: str, how: Callable[[int, int], None]
) -> None:
    seen = run({"area/test_some.py": SLOW}, workers, probes=NAMES, end=Terminal(b"area/second", how))
    assert seen.status == 130
    assert seen.verdicts()["debian-12", "area/first"] == "pass"
    assert [event["event"] for event in seen.events if event["event"] == "cell_decided"]
    assert seen.events[-1]["event"] == "run_finished"


def test_nohup_keeps_a_run_going(run: Run) -> None:
    hangs_up = f"import os, signal\ndef test_first(cell): os.kill(os.getpid(), {int(signal.SIGHUP)})\n"
    probes = hangs_up + "def test_second(cell): pass\n"

    def under_nohup(command: list[str]) -> int:
        return subprocess.run(["nohup", *command], capture_output=True, timeout=WAIT, check=False).returncode

    seen = run({"area/test_some.py": probes}, "-n0", probes=NAMES, end=under_nohup)
    assert seen.status == 0
    assert set(seen.verdicts().values()) == {"pass"}


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_a_full_pipe_that_somebody_made_non_blocking_is_waited_for(full_pipe: tuple[int, int]) -> None:
    reading, writing = full_pipe
    program = "import sys\nfrom fixtures.display import display\nprint('the end', file=display(sys.stdout))"
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=writing)
    seen = b""
    while not seen.endswith(b"the end\n"):
        seen += os.read(reading, 65536)
    assert writer.wait(WAIT) == 0


def test_a_full_disk_is_not_the_commands_fault() -> None:
    with Path("/dev/full").open("w") as full:
        shown = display(full)
        assert shown is not None
        shown.write("line\n" * 10_000)
        shown.flush()
