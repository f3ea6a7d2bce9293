"""`guestcert report OUT`: make the files that are derived from a run's events again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from matrix.places import cache_dir
from reports.allure_install import AllureCli
from reports.derive import derive
from reports.event_log import UnreadableRun, read_events
from reports.printed import print_outcome
from reports.reconcile import reconcile
from reports.verdict import ExitCode

_NOT_MADE = 4


def main(arguments: list[str]) -> int:
    """Returns the exit status that the run had; 2 when the folder holds no run, 4 when a report could not be made."""
    parser = argparse.ArgumentParser(
        prog="guestcert report",
        description="Make summary, JUnit XML, matrix page and Allure report of a run again, from its events.jsonl.",
        epilog="exit status: that of the run; 2 the folder holds no run, 4 a report could not be made",
        allow_abbrev=False,
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder of a run, such as out/latest")
    parser.add_argument("--no-html", action="store_true", help="leave the Allure report out")
    parser.add_argument("-v", "--verbose", action="store_true", help="print failures with their tracebacks")
    options = parser.parse_args(arguments)
    folder = options.out.resolve()
    try:
        outcome = reconcile(read_events(folder))
    except UnreadableRun as fault:
        sys.stderr.write(f"{fault}\n")
        return ExitCode.BAD_INPUT.code
    cache = cache_dir()
    derived = derive(outcome, folder, cache, None if options.no_html else AllureCli(cache))
    console = Console(markup=False, emoji=False, highlight=False)
    print_outcome(console, outcome, folder, derived, whole_details=options.verbose)
    return _NOT_MADE if derived.faults else outcome.exit.code
