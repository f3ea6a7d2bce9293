"""`guestcert lab`: start lab hosts that stay up, look at them, end them."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fixtures.faults import HostFault
from fixtures.lab_keeping import Health, end, health, ssh_command, start
from fixtures.lab_record import Entry, LabRecord, Reached, entries, entry_of
from fixtures.reaping import reap
from images import ImageFault, Store, load_catalogue
from images.progress import Reporter, reporter_for
from matrix.lab import lab_host_specs
from matrix.load import load
from matrix.mistakes import Mistakes, Problem, unknown
from matrix.model import HostSpec, Matrix
from matrix.places import cache_dir

DEFAULT_LAB = "software"

app = typer.Typer(
    help="Start lab hosts that stay up, look at them, end them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Overlays = Annotated[list[Path] | None, typer.Option("--matrix", metavar="DIR", help="Lay DIR over the shipped data.")]


@app.command()
def up(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[HOST]...", help=f"Lab hosts (default: those of the lab '{DEFAULT_LAB}')."),
    ] = None,
    *,
    matrix: Overlays = None,
) -> None:
    """Start lab hosts and leave them running; the first time their images are built and they boot.

    They belong to you: runs start lab hosts of their own.
    """
    overlays = matrix or []
    data = load(overlays)
    specs = _chosen(data, hosts)
    reporter = reporter_for(Console(stderr=True, markup=False, emoji=False, highlight=False))
    reap()
    wanted = []
    for spec in specs:
        entry = entry_of(spec.id)
        if entry is None or not entry.kept:
            wanted.append(spec)
        elif hosts:
            raise _mistake(spec.id, "is already up; see: guestcert lab status")
        else:
            reporter.say(f"{spec.id} is already up")
    run = f"lab-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    with ExitStack() as undo:
        for spec in wanted:
            record = _start(spec, data, run, overlays, reporter)
            undo.callback(end, spec.id)
            if record.reached is not None:
                _print(_heading(record) + _ways(record.reached))
        undo.pop_all()


def _start(spec: HostSpec, data: Matrix, run: str, overlays: Sequence[Path], reporter: Reporter) -> LabRecord:
    name = data.lab_hosts[spec.lab_host or ""].image
    catalogue = load_catalogue(overlays)
    if name not in catalogue:
        raise ImageFault(unknown("image", name, sorted(catalogue)))
    with closing(Store(cache_dir())) as store:  # until the keeper uses the image too
        store.obtain(catalogue[name], reporter)
        with reporter.task(f"starting {spec.id}: restored from its checkpoint, the first time booted"):
            return start(spec.id, run, overlays)


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say which lab hosts are up, how they are reached, and which guests run on them."""
    found = [(entry, _health(entry)) for entry in entries()]
    if as_json:
        _print(json.dumps([_document(*pair) for pair in found], indent=2))
        return
    for entry, answer in found:
        record = entry.record
        if record is None or record.reached is None or not entry.kept:
            _print(f"{entry.host}  {_state(entry)}")
            continue
        _print(_heading(record) + _ways(record.reached) + "\n" + _lines(_told(record, answer)))
    if not found:
        _print("no lab host is up; start them with: guestcert lab up")


@app.command()
def down(
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST]...", help="Lab hosts (default: all that are up).")
    ] = None,
) -> None:
    """End lab hosts and the guests on them; returns when nothing of them is left."""
    here = [entry.host for entry in entries()]
    for host in hosts or ():
        if host not in here:
            raise _mistake(host, f"is not up (up: {', '.join(here) or 'none'})")
    for host in hosts or here:
        end(host)
        _print(f"{host} is down")
    if not here:
        _print("no lab host is up")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def shell(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A lab host that is up.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND]...", help="One word is a line for the shell there; more are one command."),
    ] = None,
) -> None:
    """Log in to a lab host by ssh(1), with its pinned key; with COMMAND only that is run there."""
    entry = entry_of(host)
    if entry is None or not entry.kept:
        up_now = ", ".join(each.host for each in entries() if each.kept) or "none"
        raise _mistake(host, f"is not up (up: {up_now}); start it with: guestcert lab up {host}")
    if entry.record is None or entry.record.reached is None:
        raise HostFault(f"lab host {host} is still starting")
    words = ssh_command(entry.record.reached, command or ())
    sys.stdout.flush()
    try:
        os.execvp(words[0], words)  # noqa: S606 -- the terminal and its signals are ssh's from here on
    except FileNotFoundError:
        raise HostFault("ssh is missing; install it with the package openssh-client") from None


def _chosen(data: Matrix, names: Sequence[str] | None) -> list[HostSpec]:
    specs = lab_host_specs(data)
    known = {spec.id for lab in data.labs.values() for spec in lab}
    for name in names or ():
        if name not in specs:
            listing = f"(lab hosts: {', '.join(specs)})"
            raise _mistake(name, f"is no lab host {listing}" if name in known else unknown("lab host", name, specs))
    default = [spec.id for spec in data.labs.get(DEFAULT_LAB, ()) if spec.lab_host is not None]
    return [specs[name] for name in dict.fromkeys(names or default)]


def _mistake(host: str, message: str) -> Mistakes:
    return Mistakes([Problem("lab", 0, host, message)])


def _health(entry: Entry) -> Health:
    if entry.record is None or entry.record.reached is None or not entry.kept:
        return Health()
    return health(entry.record.reached)


def _state(entry: Entry) -> str:
    if not entry.kept:
        return "killed: its keeper is gone; clear up with: guestcert clean"
    return "up" if entry.record is not None and entry.record.reached is not None else "starting"


def _heading(record: LabRecord) -> str:
    minutes = (datetime.now(UTC) - record.since).total_seconds() / 60
    return (
        f"{record.host}  up since {record.since.astimezone():%Y-%m-%d %H:%M:%S} ({minutes:.0f} min), run {record.run}\n"
    )


def _ways(reached: Reached) -> str:
    return _lines(
        [
            ("log in", shlex.join(ssh_command(reached))),
            ("libvirt", shlex.join(["virsh", "-c", reached.uri])),
        ]
    )


def _told(record: LabRecord, answer: Health) -> list[tuple[str, str]]:
    free = "" if answer.free_mib is None else f", {answer.free_mib} MiB free"
    guests = ", ".join(f"{guest.name} ({guest.state})" for guest in answer.guests) or "none"
    return [("memory", f"{record.memory_mib} MiB{free}"), ("guests", answer.problem or guests)]


def _lines(pairs: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"  {name:<8} {value}" for name, value in pairs)


def _document(entry: Entry, answer: Health) -> dict[str, object]:
    """One lab host for programs; `state` is "up", "starting" or "killed"."""
    record = entry.record
    return {
        "host": entry.host,
        "state": _state(entry).partition(":")[0],
        **(record.model_dump(mode="json", exclude={"host"}) if record else {}),
        "free_mib": answer.free_mib,
        "guests": [{"name": guest.name, "state": guest.state} for guest in answer.guests],
        "problem": answer.problem,
    }


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
