"""`guestcert run` as something to be timed: it has to certify, and when it does not its results are kept to be looked at."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from cli.bench import NotMeasured

_CERTIFIED = 0


def guestcert(*words: str) -> int:
    """The exit status of `guestcert` with these words, without its launcher; what it says is left out."""
    command = [sys.executable, "-m", "cli.main", *words]
    checkout = Path(__file__).parents[1]
    return subprocess.run(
        command, check=False, cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).returncode


def run(out: Path, *options: str) -> int:
    """The exit status of `guestcert run` with `options` into the folder `out`."""
    return guestcert("run", *options, "--out", str(out))


def timed_run(out: Path, *options: str) -> float:
    """Seconds that it took to certify. Raises NotMeasured, which says where its results are."""
    begun = time.monotonic()
    status = run(out, *options)
    seconds = time.monotonic() - begun
    if status == _CERTIFIED:
        return seconds
    said = f"`guestcert run {' '.join(options)}` ended with exit status {status}"
    if out.exists():
        kept = Path("out") / f"{out.parent.name}-{out.name}"
        kept.parent.mkdir(exist_ok=True)
        shutil.move(out, kept)
        said += f"; its results are in {kept}"
    raise NotMeasured(said)
