"""index.html of a run folder: guests x hypervisors with verdicts and reasons. Self-contained, no scripts, prints well."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from reports.events import Fact
from reports.identity import ProbeKey, history_id
from reports.live import MARK
from reports.printed import columns, place
from reports.reconcile import CellOutcome, ProbeOutcome, RunOutcome
from reports.verdict import CellVerdict

_GLYPH = {CellVerdict.CERTIFIED: "✔", CellVerdict.FAILED: "✘", CellVerdict.INCONCLUSIVE: "?", CellVerdict.UNTESTED: "·"}
_MEANING = {
    CellVerdict.CERTIFIED: "every required probe passed",
    CellVerdict.FAILED: "a required probe showed the guest or the hypervisor at fault",
    CellVerdict.INCONCLUSIVE: "an error, a crash, a skip or a missing result hides the answer",
    CellVerdict.UNTESTED: "no host could run it, or a rule excludes it",
}


@dataclass(frozen=True, slots=True)
class _Group:
    """Untested cells with one reason."""

    reason: str
    cells: tuple[str, ...]


def matrix_page(outcome: RunOutcome, anchors: Mapping[str, str] | None) -> str:
    """The page. `anchors` are fragments into report/index.html by history id; None when there is no Allure report."""
    places = columns(outcome)
    rows: dict[str, dict[str, CellOutcome]] = {}
    for cell in outcome.cells:
        rows.setdefault(cell.plan.guest.id, {})[place(cell)] = cell
    untested: dict[str, list[str]] = {}
    for cell in outcome.cells:
        if cell.verdict is CellVerdict.UNTESTED:
            untested.setdefault(cell.reason, []).append(cell.id)

    def allure(cell: CellOutcome, probe: ProbeOutcome) -> str | None:
        if anchors is None:
            return None
        variant = probe.results[0].variant if probe.results else None
        anchor = anchors.get(history_id(ProbeKey(cell.id, probe.probe, variant)))
        return f"report/index.html#{anchor}" if anchor else None

    return (
        _environment()
        .get_template("matrix_page.html.j2")
        .render(
            outcome=outcome,
            run=outcome.run,
            started=datetime.fromtimestamp(outcome.run.at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            places=places,
            rows=rows,
            names={cell.plan.guest.id: cell.plan.guest.name for cell in outcome.cells},
            tested=[cell for cell in outcome.cells if cell.verdict is not CellVerdict.UNTESTED],
            untested=[_Group(reason, tuple(cells)) for reason, cells in untested.items()],
            totals={verdict: sum(cell.verdict is verdict for cell in outcome.cells) for verdict in CellVerdict},
            allure=allure,
            has_allure=anchors is not None,
            facts=_common_facts,
            glyph=_GLYPH,
            mark=MARK,
            meaning=_MEANING,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports", "."),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fragment"] = fragment
    environment.filters["number"] = number
    environment.filters["fact"] = _fact
    return environment


def fragment(cell_id: str) -> str:
    """The anchor of a cell in the page."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", cell_id)


def number(value: float) -> str:
    """Four significant digits, thousands apart; small and large numbers without exponent as far as sensible."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.4g}"


def _fact(value: Fact) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _common_facts(cell: CellOutcome) -> dict[str, Fact]:
    """Facts on which all probes of the cell agree."""
    seen: dict[str, list[Fact]] = {}
    for probe in cell.probes:
        for result in probe.results:
            for name, value in result.facts.items():
                values = seen.setdefault(name, [])
                if value not in values:
                    values.append(value)
    return {name: values[0] for name, values in seen.items() if len(values) == 1}
