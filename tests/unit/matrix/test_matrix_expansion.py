"""Expansion: the bit sets give what a plain reading of the rules, cell by cell, gives."""

from __future__ import annotations

import fnmatch
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.expansion import synthetic_matrix
from matrix.expand import EVERYTHING, expand, left_out, unmatched
from matrix.glob import Ids
from matrix.load import load
from matrix.model import Cell, GuestSpec, HypervisorSpec, Matrix, Rule, Selection
from tests.unit.matrix.matrix_examples import guest, hypervisor, matrix

TODAY = date(2026, 1, 1)


def rule(name: str, kind: str, **fields: object) -> Rule:
    expires = {"expires": date(2027, 1, 1)} if kind == "known-issue" else {}
    return Rule.model_validate({"id": name, "kind": kind, "reason": f"because of {name}", **expires, **fields})


def plain_reading(data: Matrix, selection: Selection, today: date) -> list[tuple[str, str | None, list[str]]]:
    """What the documentation of Rule and Selection says, evaluated for each cell by itself."""

    def matches(globs: tuple[str, ...], name: str) -> bool:
        return not globs or any(fnmatch.fnmatchcase(name, glob) for glob in globs)

    cells = []
    for g in data.guests.values():
        for h in data.hypervisors.values():
            for extension in dict.fromkeys(h.extensions):
                name = f"{g.id}+{h.id}+{extension}"
                asked = zip((*selection_globs(selection),), (g.id, h.id, extension, name), strict=True)
                if g.never_run_here and not (selection.guest or selection.cell):
                    continue
                if g.arch not in h.arches or not all(matches(globs, each) for globs, each in asked):
                    continue
                excluded, known = None, []
                for r in data.rules.values():
                    here = (
                        matches(r.guest, g.id)
                        and matches(r.hypervisor, h.id)
                        and matches(r.extension, extension)
                        and (not r.family or g.family in r.family)
                        and (not r.arch or g.arch in r.arch)
                        and (not r.firmware or g.firmware in r.firmware)
                        and (r.expires is None or today <= r.expires)
                    )
                    if here and r.kind == "known-issue":
                        known.append(r.id)
                    elif here:
                        excluded = r.reason if r.kind == "exclude" else None
                cells.append((name, excluded, known))
    return cells


def selection_globs(selection: Selection) -> tuple[tuple[str, ...], ...]:
    return selection.guest, selection.hypervisor, selection.extension, selection.cell


def seen(cells: list[Cell]) -> list[tuple[str, str | None, list[str]]]:
    return [(cell.id, cell.excluded, [issue.rule for issue in cell.known_issues]) for cell in cells]


_names = st.sampled_from(["a", "ab", "abc", "b", "b-1", "b-2", "ba", "c.d", "a-1"])
_globs = st.lists(
    st.sampled_from(["*", "a*", "b-?", "b-[12]", "*-1", "a", "abc", "?", "[!a]*", "zz", "b*1", "c.d", "b-"]), max_size=2
)
_guests = st.lists(
    st.builds(
        lambda name, family, arch, firmware, never: guest(
            name, family=family, arch=arch, firmware=firmware, never_run_here=never
        ),
        _names,
        st.sampled_from(["linux", "windows"]),
        st.sampled_from(["x86_64", "aarch64"]),
        st.sampled_from(["bios", "uefi"]),
        st.booleans(),
    ),
    unique_by=lambda each: each.id,
    max_size=5,
)
_hypervisors = st.lists(
    st.builds(
        lambda name, extensions, arches: hypervisor(name, *extensions, arches=arches),
        _names,
        st.lists(st.sampled_from(["none", "vmx", "svm"]), min_size=1, max_size=3),
        st.sampled_from([("x86_64",), ("x86_64", "aarch64")]),
    ),
    unique_by=lambda each: each.id,
    max_size=4,
)
_rules = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["include", "exclude", "known-issue"]),
            "guest": _globs,
            "hypervisor": _globs,
            "extension": st.lists(st.sampled_from(["none", "*m*", "svm", "x*"]), max_size=2),
            "family": st.lists(st.sampled_from(["linux", "windows", "freebsd"]), max_size=2),
            "arch": st.lists(st.sampled_from(["x86_64", "s390x"]), max_size=2),
            "firmware": st.lists(st.sampled_from(["bios", "uefi"]), max_size=1),
            "expires": st.sampled_from([date(2025, 12, 31), date(2026, 1, 1), date(2027, 1, 1)]),
        }
    ),
    max_size=6,
)
_selections = st.builds(
    lambda g, h, e, c: Selection(guest=tuple(g), hypervisor=tuple(h), extension=tuple(e), cell=tuple(c)),
    _globs,
    _globs,
    st.lists(st.sampled_from(["none", "*m*"]), max_size=1),
    st.lists(st.sampled_from(["a*", "*+none", "*+b*+*", "a+b+svm"]), max_size=2),
)


@given(_guests, _hypervisors, _rules, _selections)
def test_agrees_with_a_plain_reading_of_the_rules(
    guests: list[GuestSpec], hypervisors: list[HypervisorSpec], rules: list[dict[str, object]], selection: Selection
) -> None:
    made = [rule(f"r{number}", str(fields.pop("kind")), **fields) for number, fields in enumerate(rules)]
    data = matrix(guests, hypervisors, *made)
    assert seen(expand(data, selection, today=TODAY)) == plain_reading(data, selection, TODAY)


@given(st.lists(_names), _globs)
def test_globs_over_sets_find_what_fnmatch_finds(names: list[str], globs: list[str]) -> None:
    assert Ids(names).any_of(globs) == {
        name for name in names if any(fnmatch.fnmatchcase(name, glob) for glob in globs)
    }


def test_agrees_with_a_plain_reading_at_scale() -> None:
    data = synthetic_matrix(1000, 300)
    cells = expand(data, today=TODAY)
    assert len(cells) == 1000
    assert seen(cells) == plain_reading(data, EVERYTHING, TODAY)
    assert any(cell.excluded for cell in cells)
    assert any(cell.known_issues for cell in cells)


def test_the_last_rule_decides_and_a_reason_has_its_link() -> None:
    rules = [
        rule("out", "exclude", guest="win*", hypervisor="xen", link="https://example.org/why"),
        rule("in", "include", guest="win-pv"),
        rule("flaky", "known-issue", guest="win*", probes=["time/*"], link="https://example.org/bug"),
    ]
    data = matrix([guest("win-1"), guest("win-pv"), guest("lin")], [hypervisor("xen", "none")], *rules)
    cells = {cell.id: cell for cell in expand(data, today=TODAY)}
    assert cells["win-1+xen+none"].excluded == "because of out (https://example.org/why)"
    assert cells["win-pv+xen+none"].excluded is None
    assert cells["lin+xen+none"].excluded is None
    (issue,) = cells["win-1+xen+none"].known_issues
    assert (issue.rule, issue.probes, issue.link, issue.expires) == (
        "flaky",
        ("time/*",),
        "https://example.org/bug",
        date(2027, 1, 1),
    )


def test_a_rule_holds_through_its_last_day() -> None:
    data = matrix([guest("g")], [hypervisor("h", "none")], rule("r", "exclude", expires=TODAY))
    assert [cell.excluded for cell in expand(data, today=TODAY)] == ["because of r"]
    assert [cell.excluded for cell in expand(data, today=date(2026, 1, 2))] == [None]


def test_shipped_cells_have_permanent_ids() -> None:
    ids = [cell.id for cell in expand(load(), today=TODAY)]
    assert len(ids) == len(set(ids))
    assert {"debian-12+qemu-tcg+none", "debian-13+kvm+svm", "debian-12+xen-pvh+svm", "debian-12+xen-pv+none"} <= set(
        ids
    )
    assert "debian-12+qemu-tcg+svm" not in ids


def test_what_nobody_ran_here_is_planned_only_when_asked_for() -> None:
    data = matrix([guest("own"), guest("vendor", never_run_here=True)], [hypervisor("kvm", "none")])

    def ids(**globs: tuple[str, ...]) -> list[str]:
        return [cell.guest.id for cell in expand(data, Selection(**globs), today=TODAY)]

    assert ids() == ids(hypervisor=("kvm",)) == ["own"]
    assert ids(guest=("v*",)) == ids(cell=("vendor+*",)) == ["vendor"]
    assert ids(guest=("*",)) == [cell.guest.id for cell in expand(data, today=TODAY)] == ["own", "vendor"]
    assert [left_out(data, each) for each in (Selection(), Selection(guest=("own",)))] == [1, 0]
    assert unmatched(data, Selection(guest=("vendor",), cell=("vendor+kvm+none",))) == []


def test_what_is_asked_for_and_not_there_is_said() -> None:
    data = matrix([guest("debian-12")], [hypervisor("kvm", "svm")])
    assert unmatched(data, Selection(guest=("deb*",), cell=("*+svm",))) == []
    assert unmatched(
        data, Selection(guest=("debain-12", "deb*"), hypervisor=("xen*",), extension=("x",), cell=("*+none",))
    ) == [
        "--guest: unknown guest 'debain-12', did you mean 'debian-12'? (allowed: debian-12)",
        "--hypervisor: unknown hypervisor 'xen*' (allowed: kvm)",
        "--extension: unknown extension 'x' (allowed: none, vmx, svm)",
        "--cell: no cell is called '*+none' (<guest>+<hypervisor>+<extension>)",
    ]
