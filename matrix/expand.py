"""Axes x rules to cells, each with the reason why it is out and with its known issues.

Rules are compiled per axis: every guest gets the set of rules that cover it, every hypervisor-extension pair
likewise, both as bit sets in one int. The rules of a cell are then one AND of two ints, whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from matrix.glob import Ids, any_pattern
from matrix.mistakes import unknown
from matrix.model import Cell, ExtensionSpec, GuestSpec, HypervisorSpec, KnownIssue, Matrix, Rule, Selection

EVERYTHING = Selection(guest=("*",))


def expand(matrix: Matrix, selection: Selection = EVERYTHING, *, today: date) -> list[Cell]:
    """All selected cells: guests x hypervisors x the extensions a hypervisor can be combined with.

    Guests that are not run `by_default` are selected only by globs over guests or cells. Excluded cells
    are in the list and say why. Rules hold through their expiry day; `today` is the day to judge
    that by. In the order of the data: guest, hypervisor, extension. Cost: one int AND and one object a cell.
    """
    guests = _selected(matrix.guests, selection)
    pairs = _pairs(matrix, selection)
    rules = _Rules(
        [rule for rule in matrix.rules.values() if rule.expires is None or rule.expires >= today], guests, pairs
    )
    tails = [
        (f"+{hypervisor.id}+{extension.id}", hypervisor, extension, rules.by_pair[hypervisor.id, extension.id])
        for hypervisor, extension in pairs
    ]
    wanted = any_pattern(selection.cell).match if selection.cell else None
    cells = []
    for guest in guests:
        covering = rules.by_guest[guest.id]
        arch = guest.arch
        for tail, hypervisor, extension, pair_covering in tails:
            if arch not in hypervisor.arches:
                continue
            name = guest.id + tail
            if wanted is not None and not wanted(name):
                continue
            covered = covering & pair_covering
            excluded, known = rules.decide(covered) if covered else (None, ())
            cells.append(Cell(name, guest, hypervisor, extension, excluded, known))
    return cells


def unmatched(matrix: Matrix, selection: Selection) -> list[str]:
    """What is asked for and not there, one line each: globs that match no guest, hypervisor, extension or cell."""
    lines = []
    axes: list[tuple[str, Sequence[str], Mapping[str, object]]] = [
        ("guest", selection.guest, matrix.guests),
        ("hypervisor", selection.hypervisor, matrix.hypervisors),
        ("extension", selection.extension, matrix.extensions),
    ]
    for axis, globs, known in axes:
        ids = Ids(known)
        lines += [f"--{axis}: {unknown(axis, glob, known)}" for glob in globs if not ids.matching(glob)]
    if selection.cell:
        cells = [cell.id for cell in expand(matrix, today=date.max)]
        for glob in selection.cell:
            match = any_pattern([glob]).match
            if not any(match(name) for name in cells):
                lines.append(f"--cell: no cell is called '{glob}' (<guest>+<hypervisor>+<extension>)")
    return lines


def left_out(matrix: Matrix, selection: Selection) -> int:
    """How many guests a selection leaves out only because they are not run by default and no glob asks for them."""
    if selection.guest or selection.cell:
        return 0
    return sum(not guest.by_default for guest in matrix.guests.values())


def _selected(items: Mapping[str, GuestSpec], selection: Selection) -> list[GuestSpec]:
    if selection.guest:
        names = Ids(items).any_of(selection.guest)
        return [item for name, item in items.items() if name in names]
    if selection.cell:
        return list(items.values())
    return [item for item in items.values() if item.by_default]


def _pairs(matrix: Matrix, selection: Selection) -> list[tuple[HypervisorSpec, ExtensionSpec]]:
    hypervisors = Ids(matrix.hypervisors).any_of(selection.hypervisor or ("*",))
    extensions = Ids(matrix.extensions).any_of(selection.extension or ("*",))
    return [
        (hypervisor, matrix.extensions[extension])
        for hypervisor in matrix.hypervisors.values()
        if hypervisor.id in hypervisors
        for extension in dict.fromkeys(hypervisor.extensions)
        if extension in extensions
    ]


class _Rules:
    """Rules as bit sets: bit N is rule N, in order."""

    def __init__(
        self, rules: Sequence[Rule], guests: Sequence[GuestSpec], pairs: Sequence[tuple[HypervisorSpec, ExtensionSpec]]
    ) -> None:
        self._deciding = 0
        self._excluded: list[str | None] = []  # by rule number
        self._known: dict[int, KnownIssue] = {}
        self._known_mask = 0
        guest_axis = _GuestAxis(guests)
        by_hypervisor, hypervisor_ids = (
            dict.fromkeys((pair[0].id for pair in pairs), 0),
            Ids({pair[0].id for pair in pairs}),
        )
        by_extension, extension_ids = (
            dict.fromkeys((pair[1].id for pair in pairs), 0),
            Ids({pair[1].id for pair in pairs}),
        )
        self.by_guest = dict.fromkeys((guest.id for guest in guests), 0)
        for number, rule in enumerate(rules):
            bit = 1 << number
            _mark(self.by_guest, guest_axis.covered(rule), bit)
            _mark(by_hypervisor, hypervisor_ids.any_of(rule.hypervisor or ("*",)), bit)
            _mark(by_extension, extension_ids.any_of(rule.extension or ("*",)), bit)
            self._excluded.append(_reason(rule) if rule.kind == "exclude" else None)
            if rule.kind == "known-issue" and rule.expires is not None:
                self._known[bit] = KnownIssue(
                    rule=rule.id, reason=rule.reason, link=rule.link, expires=rule.expires, probes=rule.probes
                )
                self._known_mask |= bit
            else:
                self._deciding |= bit
        self.by_pair = {(h.id, e.id): by_hypervisor[h.id] & by_extension[e.id] for h, e in pairs}
        self._known_sets: dict[int, tuple[KnownIssue, ...]] = {0: ()}

    def decide(self, covered: int) -> tuple[str | None, tuple[KnownIssue, ...]]:
        """Why the rules `covered` exclude a cell, if they do, and its known issues."""
        # The last include or exclude rule is the highest bit; of none, bit_length is 0.
        last = (covered & self._deciding).bit_length()
        excluded = self._excluded[last - 1] if last else None
        known = covered & self._known_mask
        found = self._known_sets.get(known)
        if found is None:
            found = self._known_sets[known] = tuple(self._issues(known))
        return excluded, found

    def _issues(self, known: int) -> Iterable[KnownIssue]:
        while known:
            bit = known & -known
            yield self._known[bit]
            known ^= bit


class _GuestAxis:
    """Guests by id and by the attributes that rules can name."""

    def __init__(self, guests: Sequence[GuestSpec]) -> None:
        self._ids = Ids(guest.id for guest in guests)
        self._all = frozenset(guest.id for guest in guests)
        self._by_attribute: dict[tuple[str, str], set[str]] = {}
        for guest in guests:
            for attribute in ("family", "arch", "firmware"):
                self._by_attribute.setdefault((attribute, getattr(guest, attribute)), set()).add(guest.id)

    def covered(self, rule: Rule) -> frozenset[str]:
        covered = self._ids.any_of(rule.guest) if rule.guest else self._all
        for attribute, values in (("family", rule.family), ("arch", rule.arch), ("firmware", rule.firmware)):
            if values:
                covered = covered.intersection(
                    set().union(*(self._by_attribute.get((attribute, value), ()) for value in values))
                )
        return covered


def _mark(masks: dict[str, int], names: Iterable[str], bit: int) -> None:
    for name in names:
        masks[name] |= bit


def _reason(rule: Rule) -> str:
    return f"{rule.reason} ({rule.link})" if rule.link else rule.reason
