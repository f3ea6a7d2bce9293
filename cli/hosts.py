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
from matrix.model import Capability, FeatureLayers, MeasuredHost

_MITIGATION = "mitigation."


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
        console.print(_layers(host))
        console.print(_capabilities(host))


def _layers(host: MeasuredHost) -> Table:
    """How far each feature of the CPU gets."""
    layers = tuple(FeatureLayers.model_fields)
    words = {"cpu": "CPU has it", "firmware": "firmware on", "kernel": "kernel on", "hypervisor": "offered"}
    title = f"{host.id}  {host.uri}"
    table = Table(
        "feature", *(words.get(layer, layer) for layer in layers), "why not", title=title, title_justify="left"
    )
    for name, found in host.layers.items():
        why = (host.reasons.get(f"{name}.{layer}") for layer in layers)
        table.add_row(name, *(_shown(getattr(found, layer)) for layer in layers), next(filter(None, why), ""))
    return table


def _capabilities(host: MeasuredHost) -> Table:
    table = Table("capability", "measured", "why not")
    harmless = []
    for name, value in sorted(host.capabilities.items()):
        if name.startswith(_MITIGATION) and value == "Not affected":
            harmless.append(name.removeprefix(_MITIGATION))
            continue
        table.add_row(name, _shown(value), host.reasons.get(name, ""))
    if harmless:
        table.add_row("not affected by", ", ".join(harmless), "")
    return table


def _shown(value: Capability) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "unknown"}[value]
    return str(value)
