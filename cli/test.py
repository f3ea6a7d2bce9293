"""`guestcert test`: the harness's own tests, side by side; those of lab hosts one after the other."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fixtures.options import CHECKOUT

_NO_TESTS = 5


def main(arguments: list[str]) -> int:
    """Run the tests; returns 0 only if all passed. What is not ours goes to pytest; with a path only that is run."""
    parser = argparse.ArgumentParser(
        prog="guestcert test",
        usage="guestcert test [--all] [PYTEST OPTIONS] [PATHS]",
        description="Run the harness's own tests.",
        allow_abbrev=False,
    )
    parser.add_argument("--all", action="store_true", help="also the slow ones: all that needs minutes for itself")
    options, rest = parser.parse_known_args(arguments)
    if any(not word.startswith("-") and Path(word.partition("::")[0]).exists() for word in rest):
        return _pytest(rest)
    side_by_side = [f"-n{os.cpu_count() or 1}", "--dist=loadfile"]
    quick = [] if options.all else ["-m", "not slow"]
    stages = [
        ["tests/unit", *side_by_side],
        # A guest that boots does not keep its CPUs busy, and many a test waits for something not to happen.
        ["tests/guest", *side_by_side, *quick],
        # A lab host has guests of its own, which run twice translated: two would run into each other's deadlines.
        ["tests/lab", *quick],
    ]
    worst = 0
    for stage in stages:
        sys.stderr.write(f"guestcert test: {stage[0]}\n")
        status = _pytest([*stage, "--durations=8", "--durations-min=5", *rest])
        worst = worst or (0 if status == _NO_TESTS else status)
    return worst


def _pytest(arguments: Sequence[str]) -> int:
    # A process of its own for each: tests start pytest, libvirt and signal handlers of their own.
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=CHECKOUT, check=False).returncode
