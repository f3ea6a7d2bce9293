"""What a run prints at its end: why probes failed, the matrix, why cells are not certified, where the report is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.hostile_text import clean, one_line
from reports.live import COLOUR, MARK, counts_text
from reports.reconcile import CellOutcome, ProbeOutcome, RunOutcome
from reports.verdict import CellVerdict, ExitCode, Verdict

CELL_COLOUR = {
    CellVerdict.CERTIFIED: "bold green",
    CellVerdict.FAILED: "bold red",
    CellVerdict.INCONCLUSIVE: "bold magenta",
    CellVerdict.UNTESTED: "dim",
}
_MOST_PROBLEMS = 20
_MOST_NAMED = 3
_MOST_LINES = 8
_MOST_UNTESTED = 4


@dataclass(frozen=True, slots=True)
class Derived:
    """The files made from a run's events, None for one that could not be; `faults` says why, a line each."""

    index: Path | None
    allure: Path | None
    faults: tuple[str, ...] = ()


def place(cell: CellOutcome) -> str:
    """The column of a cell: its hypervisor, with the extension unless that is none."""
    extension = cell.plan.extension.id
    return cell.plan.hypervisor.id if extension == "none" else f"{cell.plan.hypervisor.id}+{extension}"


def columns(outcome: RunOutcome) -> list[str]:
    """The columns in which some cell was tested (all of them if none was); the rest is told by its reasons."""
    every = list(dict.fromkeys(place(cell) for cell in outcome.cells))
    tested = {place(cell) for cell in outcome.cells if cell.verdict is not CellVerdict.UNTESTED}
    return [name for name in every if name in tested] or every


def print_outcome(
    console: Console, outcome: RunOutcome, out: Path, derived: Derived, *, whole_details: bool = False
) -> None:
    """Print everything a person needs to know at the end of a run."""
    _print_problems(console, outcome, out, whole=whole_details)
    if any(cell.verdict is not CellVerdict.UNTESTED for cell in outcome.cells):
        console.print(_matrix(outcome))
    _print_reasons(console, outcome)
    for fault in derived.faults:
        _line(console, Text.assemble(("report: ", "magenta"), one_line(fault)))
    if derived.faults:
        _line(console, Text(f"The results are kept. To make the reports again: guestcert report {out}"))
    if derived.index is not None:
        _line(console, Text.assemble("Report  ", (str(derived.index), "bold")))
    _line(console, Text(f"Results {out}"))
    code = outcome.exit
    style = "green" if code is ExitCode.CERTIFIED else "magenta" if code.code > 1 else "red"
    _line(console, Text.assemble(f"Exit {code.code}: ", (code.value, style)))


def _line(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True, highlight=False)


def _print_problems(console: Console, outcome: RunOutcome, out: Path, *, whole: bool) -> None:
    # What happens to a host happens to all that a cell has left, which is told once.
    alike: dict[tuple[str, str, str | None, tuple[str, ...], str | None], list[ProbeOutcome]] = {}
    for cell in outcome.cells:
        for probe in cell.probes:
            if probe.verdict in {Verdict.FAIL, Verdict.ERROR}:
                told = (
                    cell.id,
                    probe.word,
                    probe.reason,
                    tuple(_explanation(probe, whole=whole)),
                    evidence_folder(probe),
                )
                alike.setdefault(told, []).append(probe)
    for (cell_id, word, reason, explanation, evidence), probes in list(alike.items())[:_MOST_PROBLEMS]:
        console.print()
        named = [f"{probe.probe}{'' if probe.required else ' (optional)'}" for probe in probes[:_MOST_NAMED]]
        more = f" and {len(probes) - _MOST_NAMED} more" if len(probes) > _MOST_NAMED else ""
        title = (f"{cell_id}  {', '.join(named)}{more}", "bold")
        _line(console, Text.assemble((f"{MARK[word]} {word} ", COLOUR[word]), title))
        body = Text(reason or "no reason given")
        for line in explanation:
            body.append(f"\n{line}", "dim")
        if evidence:
            body.append(f"\nevidence: {out / evidence}", "cyan")
        for part in body.split("\n"):
            _line(console, Text("  ").append_text(part))
    if rest := sum(map(len, list(alike.values())[_MOST_PROBLEMS:])):
        _line(console, Text(f"\n... and {rest} more; the report has all of them"))


def _explanation(probe: ProbeOutcome, *, whole: bool) -> Sequence[str]:
    """pytest's explanation of an assertion, without what the reason says already."""
    details = [clean(result.detail) for result in probe.results if result.detail]
    if whole:
        return [line for detail in details for line in detail.splitlines()]
    lines = [line[1:].strip() for detail in details for line in detail.splitlines() if line.startswith("E ")]
    fresh = [
        one_line(line, 200)
        for line in lines
        if one_line(line, 200) not in (probe.reason or "") and not line.startswith(("AssertionError", "Use -v"))
    ]
    fresh = [line for line in fresh if (probe.reason or "\0") not in line]
    return fresh[:_MOST_LINES]


def evidence_folder(probe: ProbeOutcome) -> str | None:
    """The folder, relative to the run's, in which all evidence of a probe is; None if there is none."""
    folders = {attachment.path.rpartition("/")[0] for result in probe.results for attachment in result.attachments}
    return min(folders, key=len) if folders else None


def _matrix(outcome: RunOutcome) -> Table:
    places = columns(outcome)
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("guest", no_wrap=True)
    for name in places:
        table.add_column(Text(name))
    rows: dict[str, dict[str, CellOutcome]] = {}
    for cell in outcome.cells:
        rows.setdefault(cell.plan.guest.id, {})[place(cell)] = cell
    for guest, cells in rows.items():
        table.add_row(Text(guest), *[_verdict(cells[name]) if name in cells else Text("") for name in places])
    return table


def _verdict(cell: CellOutcome) -> Text:
    text = Text().append(cell.verdict.value, CELL_COLOUR[cell.verdict])
    if cell.probes:
        text.append("\n")
        text.append_text(counts_text(cell.counts))
        text.append(f"  {cell.duration:.0f} s", "dim")
    return text


def _print_reasons(console: Console, outcome: RunOutcome) -> None:
    by_reason: dict[tuple[CellVerdict, str], list[str]] = {}
    untested: dict[str, dict[str, None]] = {}
    for cell in outcome.cells:
        if cell.verdict is CellVerdict.UNTESTED:
            untested.setdefault(cell.reason, {})[place(cell)] = None
        elif cell.verdict is not CellVerdict.CERTIFIED:
            by_reason.setdefault((cell.verdict, cell.reason), []).append(cell.id)
    for (verdict, reason), cells in by_reason.items():
        named = ", ".join(cells[:5]) + (f" and {len(cells) - 5} more" if len(cells) > 5 else "")
        _line(console, Text.assemble((verdict.value, CELL_COLOUR[verdict]), f" {named}: {reason}"))
    for reason, places in list(untested.items())[:_MOST_UNTESTED]:
        _line(
            console, Text.assemble(("untested", CELL_COLOUR[CellVerdict.UNTESTED]), f" {', '.join(places)}: {reason}")
        )
    if len(untested) > _MOST_UNTESTED:
        rest = list(dict.fromkeys(name for places in list(untested.values())[_MOST_UNTESTED:] for name in places))
        _line(
            console,
            Text.assemble(
                ("untested", CELL_COLOUR[CellVerdict.UNTESTED]),
                f" {len(rest)} more columns; the report and `guestcert matrix explain CELL` say why",
            ),
        )
    for failure in outcome.collection_failures:
        _line(
            console,
            Text.assemble(
                ("not read", "red"),
                f" {failure.node}: {one_line(failure.message.strip().splitlines()[-1] if failure.message.strip() else '')}",
            ),
        )
    for error in outcome.internal_errors:
        _line(
            console,
            Text.assemble(
                ("internal error", "red"),
                f" {one_line(error.message.strip().splitlines()[-1] if error.message.strip() else '')}",
            ),
        )
    if by_reason or untested or outcome.collection_failures or outcome.internal_errors:
        console.print()
