"""A program in the guest that checks its own memory over and over, and by which a stop or a harm is seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from fixtures.deadline import Deadline
from fixtures.faults import CommandFailed
from suites.bounds import Bounds, load_bounds
from suites.reading.batch import Runner, run_batch
from suites.waiting import wait_until

TICK = "guestcert workload tick"

STAMP_S = 0.1
"""How often a workload notes the time, in seconds; the program for it takes a guest that is translated twice a tenth of that."""


class LifecycleBounds(Bounds):
    """`bounds.yaml`: seconds, and KiB of memory."""

    pause_s: float = Field(gt=0)
    progress_s: float = Field(gt=0)
    clock_s: float = Field(gt=0)
    downtime_s: float = Field(gt=0)
    light_kib: int = Field(gt=0)
    light_rest_s: float = Field(gt=0)
    load_kib: int = Field(gt=0)


def lifecycle_bounds() -> LifecycleBounds:
    """The bounds beside this module."""
    return load_bounds(Path(__file__).with_name("bounds.yaml"), LifecycleBounds)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a workload is: rounds done, rounds whose checksum was wrong, whether its process lives."""

    rounds: int
    wrong: int
    alive: bool


@dataclass(frozen=True, slots=True)
class ChecksumWorkload:
    """A running workload: its folder and process in the guest."""

    guest: Runner
    folder: str
    pid: int

    def progress(self) -> Progress:
        """How far it is now."""
        # One byte a round is appended, so that a reading never sees half a number.
        return parse_progress(
            run_batch(
                self.guest,
                {
                    "progress": f"wc -c < {self.folder}/rounds; wc -c < {self.folder}/wrong; "
                    f"if kill -0 {self.pid} 2>/dev/null; then echo alive; else echo dead; fi"
                },
            )["progress"].text
        )

    def goes_on(self, rounds: int, deadline: Deadline) -> Progress:
        """Progress once more than `rounds` are done, or when `deadline` has passed."""
        latest = [self.progress()]

        def moved() -> bool:
            latest.append(self.progress())
            return latest[-1].rounds > rounds or not latest[-1].alive

        wait_until(moved, deadline)
        return latest[-1]

    def stamps(self) -> tuple[float, ...]:
        """The guest's own clock (/proc/uptime, seconds) each time that it was noted so far. Raises CommandFailed."""
        return parse_stamps(run_batch(self.guest, {"stamps": f"cat {self.folder}/stamps"})["stamps"].text)


def start_workload(guest: Runner, *, kib: int = 1024, rest_s: float = 0.0, on_console: bool = True) -> ChecksumWorkload:
    """Start a workload over `kib` KiB (a multiple of 64) of random data in memory, of which each round makes a copy and checks that.

    It rests for `rest_s` after each. A second process notes the time every STAMP_S, whatever the first one is at. `on_console`: each round writes a TICK to the console. Raises CommandFailed.
    """
    rest = f"sleep {rest_s:g}" if rest_s else ":"
    tick = f"echo '{TICK}' > /dev/console" if on_console else ":"
    script = f"""
folder=$(mktemp -d /dev/shm/guestcert-XXXXXX 2>/dev/null || mktemp -d /tmp/guestcert-XXXXXX) || exit 1
dd if=/dev/urandom of="$folder/block" bs=65536 count={kib // 64} 2>/dev/null || exit 1
: > "$folder/rounds"; : > "$folder/wrong"; : > "$folder/stamps"
(
    trap '' HUP
    expected=$(sha256sum < "$folder/block")
    while [ -e "$folder/block" ]; do
        cp "$folder/block" "$folder/copy"
        [ "$(sha256sum < "$folder/copy")" = "$expected" ] || printf x >> "$folder/wrong"
        printf x >> "$folder/rounds"
        {tick}
        {rest}
    done
) </dev/null >/dev/null 2>&1 &
worker=$!
(
    trap '' HUP
    while [ -e "$folder/block" ]; do
        read -r now idle < /proc/uptime && echo "$now" >> "$folder/stamps"
        sleep {STAMP_S}
    done
) </dev/null >/dev/null 2>&1 &
echo "$folder $worker"
"""
    batch = run_batch(guest, {"start": script})
    match = re.fullmatch(r"(/\S+) (\d+)", batch["start"].word)
    if not match:
        raise CommandFailed(
            f"starting a checksum workload in the guest: status {batch['start'].status}, {batch['start'].word[:200]!r}: "
            f"{batch.error_text.strip()[-300:]}"
        )
    return ChecksumWorkload(guest, match[1], int(match[2]))


def parse_progress(text: str) -> Progress:
    """Three words: rounds, wrong rounds, alive or dead. Raises CommandFailed on anything else."""
    match = re.fullmatch(r"\s*(\d+)\s+(\d+)\s+(alive|dead)\s*", text)
    if not match:
        raise CommandFailed(
            f"reading a checksum workload's progress: expected two counts and a state, got {text[:200]!r}"
        )
    return Progress(int(match[1]), int(match[2]), match[3] == "alive")


def parse_stamps(text: str) -> tuple[float, ...]:
    """Seconds, one a line; a last line that is still being written is left out. Raises CommandFailed on anything else."""
    lines = text.split("\n")[:-1]
    if not all(re.fullmatch(r"\d+\.\d+", line) for line in lines):
        raise CommandFailed(f"reading a checksum workload's stamps: expected seconds, got {text[:200]!r}")
    return tuple(map(float, lines))


def judge_workload(before: Progress, after: Progress) -> str | None:
    """What is wrong with a workload that was at `before` and should have gone on; None when nothing is."""
    if not after.alive:
        return f"expected the workload to go on, its process is gone (after {after.rounds} rounds)"
    if after.rounds <= before.rounds:
        return f"expected the workload to go on, it stands at {after.rounds} rounds as before"
    if after.wrong:
        return f"expected every checksum of the workload to be right, {after.wrong} of {after.rounds} rounds were wrong"
    return None


def clock_offset(guest_s: int, asked_at: float, answered_at: float) -> float:
    """Least seconds that the guest's clock, read as whole seconds of the epoch, is off the host's (0: not seen to be).

    The guest read it at some time between `asked_at` and `answered_at` (host's epoch seconds). Negative: behind.
    """
    if guest_s > answered_at:
        return guest_s - answered_at
    if guest_s + 1 < asked_at:
        return guest_s + 1 - asked_at
    return 0.0


def clock_offset_now(guest: Runner, host_clock: Callable[[], float]) -> float:
    """`clock_offset` of a guest, now, by the clock of its host (epoch seconds). Raises CommandFailed, HostFault."""
    asked = host_clock()
    date = run_batch(guest, {"date": "date +%s"})["date"].word
    answered = host_clock()
    if not date.isdigit():
        raise CommandFailed(f"reading the guest's clock: expected seconds of the epoch, got {date[:200]!r}")
    return clock_offset(int(date), asked, answered)
