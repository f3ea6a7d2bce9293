"""Verdicts: nothing but evidence makes a `certified`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from fixtures.faults import ChannelLost, CommandTimedOut, GuestFault, GuestPanicked, HostFault
from reports.events import (
    CellMoved,
    CellPlanned,
    CollectionFailed,
    Event,
    InternalError,
    Named,
    ProbeFinished,
    ProbesCollected,
    ProbeStarted,
    ProfileRecord,
    RunStarted,
)
from reports.identity import NodeNames, ProbeKey, history_id
from reports.junit import junit
from reports.matrix_page import matrix_page
from reports.reconcile import RunOutcome, reconcile
from reports.summary import summary
from reports.verdict import CellVerdict, ExitCode, Verdict, of_exception, worst

CELL = "a-1+qemu-tcg+none"


def started(*required: str, optional: Sequence[str] = ()) -> RunStarted:
    profile = ProfileRecord(id="p", required=required, optional=tuple(optional))
    return RunStarted(at=1.0, run_id="r", versions={}, command=(), profile=profile, plan_digest="d")


def planned(cell: str = CELL, host: str | None = "local", reason: str | None = None) -> CellPlanned:
    guest, hypervisor, extension = cell.split("+")
    return CellPlanned(
        at=1.0,
        cell=cell,
        guest=Named(id=guest),
        hypervisor=Named(id=hypervisor),
        extension=Named(id=extension),
        host=host,
        reason=reason,
    )


def finished(
    probe: str,
    verdict: Verdict = Verdict.PASS,
    cell: str | None = CELL,
    reason: str | None = None,
    variant: str | None = None,
) -> ProbeFinished:
    return ProbeFinished(
        at=2.0,
        node=f"n {probe} {variant}",
        cell=cell,
        probe=probe,
        variant=variant,
        worker="gw0",
        verdict=verdict,
        reason=reason,
        started=1.0,
        duration=1.0,
    )


def verdict_of(*events: Event) -> tuple[CellVerdict, str]:
    outcome = reconcile(events)
    return outcome.cells[0].verdict, outcome.cells[0].reason


def test_certified_needs_every_required_probe() -> None:
    assert verdict_of(started("b/x", "b/y"), planned(), finished("b/x"), finished("b/y"))[0] is CellVerdict.CERTIFIED
    assert verdict_of(started("b/x", "b/y"), planned(), finished("b/x")) == (
        CellVerdict.INCONCLUSIVE,
        "1 of 2 required probes missing: b/y (never started)",
    )


@pytest.mark.parametrize(
    ("verdict", "cell"),
    [
        (Verdict.FAIL, CellVerdict.FAILED),
        (Verdict.ERROR, CellVerdict.INCONCLUSIVE),
        (Verdict.SKIP, CellVerdict.INCONCLUSIVE),
    ],
)
def test_one_required_probe_decides(verdict: Verdict, cell: CellVerdict) -> None:
    assert (
        verdict_of(started("b/x", "b/y"), planned(), finished("b/x"), finished("b/y", verdict, reason="why"))[0] is cell
    )


def test_a_failure_outranks_what_is_missing() -> None:
    assert verdict_of(started("b/x", "b/y"), planned(), finished("b/x", Verdict.FAIL))[0] is CellVerdict.FAILED


def test_a_profile_without_required_probes_never_certifies() -> None:
    assert verdict_of(started(optional=["b/x"]), planned(), finished("b/x"))[0] is CellVerdict.INCONCLUSIVE


def test_optional_and_unknown_probes_do_not_decide() -> None:
    outcome = reconcile(
        [
            started("b/x", optional=["b/o"]),
            planned(),
            finished("b/x"),
            finished("b/o", Verdict.FAIL),
            finished("z/new", Verdict.ERROR),
        ]
    )
    assert outcome.cells[0].verdict is CellVerdict.CERTIFIED
    assert [(probe.probe, probe.required) for probe in outcome.cells[0].probes] == [
        ("b/x", True),
        ("b/o", False),
        ("z/new", False),
    ]


def test_a_missing_variant_is_a_missing_result() -> None:
    nodes = (f"suites/b/test_b.py::test_x[{CELL}-one]", f"suites/b/test_b.py::test_x[{CELL}-two]")
    events: list[Event] = [
        started("b/x"),
        planned(),
        ProbesCollected(at=1.0, nodes=nodes),
        finished("b/x", variant="one"),
    ]
    assert verdict_of(*events) == (CellVerdict.INCONCLUSIVE, "1 of 1 required probes missing: b/x (two: never started)")
    assert verdict_of(*events, finished("b/x", variant="two"))[0] is CellVerdict.CERTIFIED


def test_a_probe_that_never_ended_is_told_from_one_that_never_began() -> None:
    events: list[Event] = [started("b/x"), planned(), ProbeStarted(at=1.0, node="n", cell=CELL, probe="b/x")]
    assert "started but never ended" in verdict_of(*events)[1]


def test_the_worse_of_two_results_of_a_probe_counts() -> None:
    assert (
        verdict_of(started("b/x"), planned(), finished("b/x"), finished("b/x", Verdict.ERROR))[0]
        is CellVerdict.INCONCLUSIVE
    )


def test_an_unbound_cell_is_untested_with_its_reason() -> None:
    assert verdict_of(started("b/x"), planned(host=None, reason="no host offers svm")) == (
        CellVerdict.UNTESTED,
        "no host offers svm",
    )


def code(*events: Event, interrupted: bool | None = None) -> ExitCode:
    return reconcile(events, interrupted=interrupted).exit


def test_exit_codes() -> None:
    run, good, untested = started("b/x"), finished("b/x"), planned("b+kvm+svm", host=None, reason="no")
    assert code(run, planned(), untested, good) is ExitCode.CERTIFIED
    assert code(run, planned(), untested, finished("b/x", Verdict.FAIL)) is ExitCode.FAILED
    assert code(run, planned(), untested) is ExitCode.INCONCLUSIVE
    assert code(run, untested) is ExitCode.UNTESTED
    assert code(run) is ExitCode.UNTESTED
    assert code(run, planned(), good, InternalError(at=1, message="m")) is ExitCode.INCONCLUSIVE
    assert code(run, planned(), CollectionFailed(at=1, node="n", message="m")) is ExitCode.BAD_INPUT
    assert code(run, planned(), good, interrupted=True) is ExitCode.INTERRUPTED
    assert [each.code for each in ExitCode] == [0, 1, 2, 3, 5, 130]


def test_whose_fault_an_exception_is() -> None:
    for fault in (
        AssertionError(),
        GuestFault("g"),
        GuestPanicked("p"),
        CommandTimedOut("t"),
        pytest.fail.Exception("f"),
    ):
        assert of_exception(fault) is Verdict.FAIL
    for error in (HostFault("h"), ChannelLost("c"), OSError(), KeyError("k")):
        assert of_exception(error) is Verdict.ERROR
    assert of_exception(pytest.skip.Exception("s")) is Verdict.SKIP
    assert of_exception(ExceptionGroup("g", [OSError(), GuestFault("x")])) is Verdict.FAIL
    assert worst([Verdict.PASS, Verdict.SKIP]) is Verdict.SKIP


def test_node_ids_are_read_by_the_planned_cells() -> None:
    names = NodeNames(["debian-12+qemu-tcg+none", "debian-12+qemu-tcg+none-x"])
    path = "suites/boot/test_any.py::test_cold_boot"
    assert names.key(f"{path}[debian-12+qemu-tcg+none]") == ProbeKey("debian-12+qemu-tcg+none", "boot/cold_boot")
    assert names.key(f"{path}[debian-12+qemu-tcg+none-x]") == ProbeKey("debian-12+qemu-tcg+none-x", "boot/cold_boot")
    assert names.key(f"{path}[nvme-4k-debian-12+qemu-tcg+none]") == ProbeKey(
        "debian-12+qemu-tcg+none", "boot/cold_boot", "nvme-4k"
    )
    assert names.key("elsewhere/suites/boot/test_b.py::TestClass::test_cold_boot") == ProbeKey(None, "boot/cold_boot")
    assert names.key(f"{path}[other+kvm+svm]") == ProbeKey(None, "boot/cold_boot", "other+kvm+svm")


def test_history_ids_tell_cells_probes_and_variants_apart() -> None:
    keys = [
        ProbeKey("c", "b/x"),
        ProbeKey("c", "b/y"),
        ProbeKey("d", "b/x"),
        ProbeKey("c", "b/x", "v"),
        ProbeKey(None, "b/x"),
    ]
    assert len({history_id(key) for key in keys}) == len(keys)
    # Permanent: histories of users hang on it.
    assert history_id(ProbeKey("debian-12+qemu-tcg+none", "boot/cold_boot")) == "fa5687492e331b41221b7397b3661f2e"


HOSTILE = st.text(st.characters(codec=None), max_size=60)


@settings(deadline=None)  # how long it takes says nothing on a busy machine
@given(HOSTILE, HOSTILE, HOSTILE)
def test_hostile_text_breaks_no_derived_file(reason: str, detail: str, name: str) -> None:
    broken = finished("b/x", Verdict.FAIL, reason=reason).model_dump() | {"detail": detail}
    run = started("b/x", name)
    outcome: RunOutcome = reconcile(
        [run, planned(), ProbeFinished.model_validate(broken), CollectionFailed(at=1, node=name, message=detail)]
    )
    root = etree.fromstring(junit(outcome))
    assert root.get("failures") == "1"
    summary(outcome).encode()
    matrix_page(outcome, {}).encode()


def test_every_report_names_the_versions_of_what_took_part() -> None:
    run = started("b/x").model_copy(update={"versions": {"osinfo-db": "20250606"}})
    outcome = reconcile([run, planned(), finished("b/x", Verdict.PASS)])
    assert etree.fromstring(junit(outcome)).xpath("string(//property[@name='version osinfo-db']/@value)") == "20250606"
    assert json.loads(summary(outcome))["versions"] == {"osinfo-db": "20250606"}
    assert "osinfo-db 20250606" in matrix_page(outcome, {})


@pytest.mark.parametrize(
    ("host", "again", "text"),
    [
        ("other", True, "Begun again on host <code>other</code>: host lab was lost: &lt;b&gt;"),
        ("other", False, "Begun on host <code>other</code>: host lab was lost"),
        ("lab", True, "Begun again on host <code>lab</code>, started anew: host lab was lost"),
    ],
)
def test_the_page_says_of_a_cell_that_it_lost_its_host(host: str, again: bool, text: str) -> None:
    reason = "host lab was lost: <b>"
    move = CellMoved(at=2.0, cell=CELL, lost="lab", host=host, reason=reason, again=again)
    outcome = reconcile([started("b/x"), planned(host="lab"), move, finished("b/x", Verdict.PASS)])
    assert text in matrix_page(outcome, {})


def test_markup_from_a_guest_is_text_in_the_page() -> None:
    outcome = reconcile(
        [started("b/x"), planned(), finished("b/x", Verdict.FAIL, reason="<script>alert(1)</script><img src=x>")]
    )
    page = matrix_page(outcome, {})
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
