"""`guestcert hosts probe`: measure what the hosts of the matrix can do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from cli.surveying import surveyed
from matrix.load import choose_hosts, load
from matrix.model import MeasuredHost


def main(arguments: list[str]) -> int:
    """Returns 0, or 3 when a host could not be measured."""
    parser = argparse.ArgumentParser(
        prog="guestcert hosts", description="Measure what hosts can do.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    probe = commands.add_parser("probe", help="try accelerators, ask for versions, firmware, CPUs and memory")
    probe.add_argument("--json", action="store_true", help="print a document that --hosts takes")
    probe.add_argument(
        "--matrix", action="append", default=[], type=Path, metavar="DIR", help="matrix data laid over the shipped one"
    )
    probe.add_argument(
        "hosts", nargs="*", metavar="LAB|HOST|FILE", help="which hosts; the lab `default` when none is given"
    )
    options = parser.parse_args(arguments)
    data = load(options.matrix)
    specs = choose_hosts(data, options.hosts or ["default"])
    measured, lost = surveyed(data, specs, options.matrix)
    if options.json:
        sys.stdout.write(TypeAdapter(list[MeasuredHost]).dump_json(measured, indent=1).decode() + "\n")
    else:
        _print(measured)
    return 3 if lost else 0


def _print(measured: list[MeasuredHost]) -> None:
    console = Console(markup=False, emoji=False, highlight=False)
    for host in measured:
        table = Table("capability", "measured", "why not", title=f"{host.id}  {host.uri}", title_justify="left")
        for name, value in sorted(host.capabilities.items()):
            shown = (
                {True: "yes", False: "no", None: "unknown"}.get(value)
                if value is None or isinstance(value, bool)
                else str(value)
            )
            table.add_row(name, shown, host.reasons.get(name, ""))
        console.print(table)
