"""`guestcert clean`: destroy and remove what runs that were killed have left behind."""

from __future__ import annotations

import argparse
import sys

from fixtures.checkpoint import CheckpointStore
from fixtures.reaping import Reaped, reap
from matrix.places import cache_dir

_GIB = 1024**3


def main(arguments: list[str]) -> int:
    """Returns 0, or 3 when something could not be removed (a host out of reach)."""
    parser = argparse.ArgumentParser(
        prog="guestcert clean",
        description="Destroy guests and remove overlays, sockets and folders of runs that are gone. Runs that live are not touched.",
        epilog="exit status: 0; 3 when something could not be removed",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--checkpoints", type=float, metavar="GIB", help="also prune checkpoints, the oldest first, to at most GIB"
    )
    options = parser.parse_args(arguments)
    reaped = reap(_say)
    if not reaped:
        sys.stdout.write("nothing was left behind\n")
    if options.checkpoints is not None:
        removed = CheckpointStore(cache_dir() / "checkpoints").prune(int(options.checkpoints * _GIB))
        sys.stdout.write(f"{len(removed)} checkpoint{'' if len(removed) == 1 else 's'} removed\n")
    return 3 if any(result.problem for result in reaped) else 0


def _say(result: Reaped) -> None:
    line = f"{result.possession.what} of process {result.owner_pid}"
    if result.problem:
        sys.stderr.write(f"{line}: left behind: {result.problem}\n")
    else:
        sys.stdout.write(f"{line}: removed\n")
