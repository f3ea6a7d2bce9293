"""`guestcert matrix`: list, explain and check what is to be certified."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from cli.surveying import surveyed
from matrix.bind import bind
from matrix.claim import Claim, claims_about
from matrix.expand import expand, left_out, unmatched
from matrix.lint import lint as find
from matrix.load import choose_hosts, load, resolve_profile
from matrix.mistakes import Mistakes, Problem, unknown
from matrix.model import Binding, Cell, Matrix, MeasuredHost, Selection
from matrix.probes import scan

SHIPPED_SUITES = Path(__file__).resolve().parents[1] / "suites"

app = typer.Typer(
    help="List, explain and check what is to be certified.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Guests = Annotated[
    list[str] | None,
    typer.Option(
        "--guest",
        metavar="GLOB",
        help="Only these guests; may be repeated. Without it and --cell: those that were run here before.",
    ),
]
Hypervisors = Annotated[list[str] | None, typer.Option("--hypervisor", metavar="GLOB", help="Only these hypervisors.")]
Extensions = Annotated[list[str] | None, typer.Option("--extension", metavar="GLOB", help="Only these extensions.")]
Cells = Annotated[list[str] | None, typer.Option("--cell", metavar="GLOB", help="Only cells with such an id.")]
Overlays = Annotated[list[Path] | None, typer.Option("--matrix", metavar="DIR", help="Lay DIR over the shipped data.")]
Suites = Annotated[list[Path] | None, typer.Option("--suites", metavar="DIR", help="Add the probes in DIR.")]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--hosts", metavar="LAB|HOST|FILE", help="Hosts to ask (default: the lab 'default')."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_cells(
    *,
    guest: Guests = None,
    hypervisor: Hypervisors = None,
    extension: Extensions = None,
    cell: Cells = None,
    profile: Annotated[str, typer.Option("--profile", metavar="NAME", help="Whose probes to count.")] = "standard",
    matrix: Overlays = None,
    as_json: AsJson = False,
) -> None:
    """List the cells of the matrix, and why some are not to be run."""
    data = load(matrix or ())
    chosen = resolve_profile(data, profile)
    selection = _selection(data, guest, hypervisor, extension, cell)
    cells = _cells(data, selection)
    if as_json:
        wanted = {"id": chosen.id, "required": list(chosen.required), "optional": list(chosen.optional)}
        _print(json.dumps({"profile": wanted, "cells": [_as_json(each) for each in cells]}, indent=2))
        return
    width = max((len(each.id) for each in cells), default=0)
    today = _today()
    for each in cells:
        _print(f"{each.id:<{width}}  {'; '.join(_remarks(each, today))}".rstrip())
    excluded = sum(each.excluded is not None for each in cells)
    _print(f"{len(cells)} cells, {excluded} excluded; profile {chosen.id}: {len(chosen.required)} required probes")
    if absent := left_out(data, selection):
        _print(
            f"{absent} guests that were never run here, or are run on request, are left out; --guest '*' lists them too"
        )


@app.command()
def explain(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="[CELL]...", help="Cell ids or globs (default: all).")
    ] = None,
    *,
    guest: Guests = None,
    hypervisor: Hypervisors = None,
    extension: Extensions = None,
    cell: Cells = None,
    hosts: Hosts = None,
    measured: Annotated[
        Path | None,
        typer.Option("--measured", metavar="FILE", help="Take a JSON list of measured hosts instead of measuring."),
    ] = None,
    matrix: Overlays = None,
    as_json: AsJson = False,
) -> None:
    """Say for every cell which host runs it, or the one reason why none does, and what its image still wants. Measures the hosts."""
    from images import left_to_do, load_catalogue  # noqa: PLC0415 -- `list` does without

    data = load(matrix or ())
    cells = _cells(data, _selection(data, guest, hypervisor, extension, [*(cell or []), *(which or [])]))
    if measured is not None:
        able = _read_measured(measured)
    else:
        able, _ = surveyed(data, choose_hosts(data, hosts or ["default"]), matrix or ())
    bindings = bind(cells, able)
    catalogue = load_catalogue(matrix or ())
    images = {name: left_to_do(catalogue[name]) for cell in cells if (name := cell.guest.image) in catalogue}
    if as_json:
        explained = [_explained(binding, images.get(binding.cell.guest.image)) for binding in bindings]
        _print(json.dumps(explained, indent=2))
        return
    width = max((len(binding.cell.id) for binding in bindings), default=0)
    for binding in bindings:
        if binding.host_id is None:
            answer = f"untested: {binding.reason}"
        else:
            others = f" (also possible: {', '.join(binding.alternatives)})" if binding.alternatives else ""
            image = binding.cell.guest.image
            todo = f"; but image {image} {images[image]}" if images.get(image) else ""
            answer = f"runs on {binding.host_id}{others}{todo}"
        _print(f"{binding.cell.id:<{width}}  {answer}")


@app.command()
def claims(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="[CELL]...", help="Cell ids or globs (default: every claim).")
    ] = None,
    *,
    guest: Guests = None,
    hypervisor: Hypervisors = None,
    extension: Extensions = None,
    cell: Cells = None,
    matrix: Overlays = None,
    as_json: AsJson = False,
) -> None:
    """Say what vendors claim, in their words and with the source; of cells, or altogether. A claim is no verdict."""
    data = load(matrix or ())
    globs = [*(cell or []), *(which or [])]
    told: list[tuple[Claim, list[str]]] = [(claim, []) for claim in data.claims.values()]
    if guest or hypervisor or extension or globs:
        about: dict[str, list[str]] = {}
        for each in _cells(data, _selection(data, guest, hypervisor, extension, globs)):
            for claim in claims_about(data.claims.values(), each.guest.id, each.hypervisor.id, each.extension.id):
                about.setdefault(claim.id, []).append(each.id)
        told = [(data.claims[name], cells) for name, cells in about.items()]
    if as_json:
        _print(json.dumps([_claimed(data, claim, cells) for claim, cells in told], indent=2))
        return
    for claim, cells in told:
        says, source = claim.says, data.sources[claim.says.source]
        _print(
            f"{says.guest} on {says.hypervisor}: {says.statement}" + (f" ({says.qualifier})" if says.qualifier else "")
        )
        day = f", {source.published}" if source.published else ""
        _print(f"    {source.title}{day}{'' if source.first_party else ', third party'}: {source.url}")
        if cells:
            _print(f"    speaks of {', '.join(cells)}")
    _print(f"{len(told)} claims of {len({claim.says.source for claim, _ in told})} sources")


@app.command()
def lint(matrix: Overlays = None, suites: Suites = None) -> None:
    """Check the data: unknown probes and images, expired rules, ends of life, what nothing refers to.

    Exit status 2 if there is a mistake, 0 if there are warnings only.
    """
    from images import boots_of, load_catalogue  # noqa: PLC0415 -- only lint needs the catalogue

    data = load(matrix or ())
    probes = scan([SHIPPED_SUITES, *(suites or ())])
    images = {name: boots_of(source) for name, source in load_catalogue(matrix or ()).items()}
    findings = find(data, today=_today(), probes=probes, images=images)
    for finding in findings:
        _print(str(finding))
    mistakes = sum(finding.severity == "mistake" for finding in findings)
    _print(f"{mistakes} mistakes, {len(findings) - mistakes} warnings")
    if mistakes:
        raise typer.Exit(2)


def _selection(
    data: Matrix,
    guest: Sequence[str] | None,
    hypervisor: Sequence[str] | None,
    extension: Sequence[str] | None,
    cell: Sequence[str] | None,
) -> Selection:
    """What is asked for. Raises Mistakes for globs that are malformed or match nothing."""
    asked = {"guest": guest, "hypervisor": hypervisor, "extension": extension, "cell": cell}
    try:
        selection = Selection.model_validate({axis: tuple(globs or ()) for axis, globs in asked.items()})
    except ValidationError as error:
        raise Mistakes(
            Problem(
                f"--{detail['loc'][0]}",
                0,
                "",
                f"{detail['msg'].removeprefix('Value error, ')}, not {detail['input']!r}",
            )
            for detail in error.errors()
        ) from error
    lines = unmatched(data, selection)
    if lines:
        raise Mistakes(Problem(line.partition(": ")[0], 0, "", line.partition(": ")[2]) for line in lines)
    return selection


def _cells(data: Matrix, selection: Selection) -> list[Cell]:
    """The selected cells. Raises Mistakes if there is none."""
    cells = expand(data, selection, today=_today())
    if not cells:
        raise Mistakes(
            [Problem("matrix", 0, "", "no cell is selected; `guestcert matrix list --guest '*'` shows all of them")]
        )
    from matrix.osinfo import Osinfo, complete  # noqa: PLC0415 -- loads lxml, which lint does without

    return complete(cells, Osinfo.of_this_machine())


def _read_measured(path: Path) -> list[MeasuredHost]:
    """Measured hosts from `guestcert hosts probe --json` or a list of MeasuredHost. Raises Mistakes."""
    try:
        return TypeAdapter(list[MeasuredHost]).validate_json(path.read_bytes())
    except OSError as error:
        raise Mistakes([Problem(str(path), 0, "", f"cannot be read: {error.strerror}")]) from error
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            where = ".".join(str(step) for step in detail["loc"])
            allowed = list(MeasuredHost.model_fields)
            extra = detail["type"] == "extra_forbidden"
            message = unknown("key", str(detail["loc"][-1]), allowed) if extra else detail["msg"]
            problems.append(Problem(str(path), 0, where, message))
        raise Mistakes(problems) from error


def _remarks(cell: Cell, today: date) -> list[str]:
    remarks = [f"excluded: {cell.excluded}"] if cell.excluded is not None else []
    remarks += [f"known issue until {issue.expires}: {issue.reason}" for issue in cell.known_issues]
    for spec in (cell.guest, cell.hypervisor):
        if spec.end_of_life is not None and spec.end_of_life < today:
            remarks.append(f"{spec.id} is past its end of life {spec.end_of_life}")
        if spec.never_run_here:
            remarks.append(f"{spec.id} was never run here")
    return remarks


def _as_json(cell: Cell) -> dict[str, object]:
    return {
        "id": cell.id,
        "guest": cell.guest.id,
        "hypervisor": cell.hypervisor.id,
        "extension": cell.extension.id,
        "excluded": cell.excluded,
        "known_issues": [issue.model_dump(mode="json") for issue in cell.known_issues],
        "never_run_here": cell.guest.never_run_here or cell.hypervisor.never_run_here,
        "end_of_life": cell.guest.end_of_life.isoformat() if cell.guest.end_of_life else None,
    }


def _explained(binding: Binding, image: str | None) -> dict[str, object]:
    """`image` says what has to be done before its image can be had."""
    return {
        "id": binding.cell.id,
        "host": binding.host_id,
        "reason": binding.reason,
        "alternatives": list(binding.alternatives),
        "image": image,
    }


def _claimed(data: Matrix, claim: Claim, cells: list[str]) -> dict[str, object]:
    """A claim as JSON, its source in full; `cells` are those asked for that it speaks of."""
    says = claim.says.model_dump(mode="json") | {"source": data.sources[claim.says.source].model_dump(mode="json")}
    return {"id": claim.id, **says, "about": claim.about.model_dump(mode="json"), "cells": cells}


def _today() -> date:
    return datetime.now(UTC).date()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
