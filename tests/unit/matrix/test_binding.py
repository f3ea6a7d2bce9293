"""Binding: which host runs a cell, or exactly the one clause that no host meets; and that it travels as JSON."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from matrix.bind import bind, explain
from matrix.expand import expand
from matrix.load import load, resolve_profile
from matrix.model import Cell, HostLimits, MeasuredHost, Rule, Selection
from matrix.plan import Plan
from tests.unit.matrix.matrix_examples import guest, host, hypervisor, matrix

TODAY = date(2026, 1, 1)
LOCAL = host("local", **{"hypervisor_qemu-tcg": True, "hypervisor_kvm": False})


def shipped(cell_id: str) -> Cell:
    (cell,) = expand(load(), Selection(cell=(cell_id,)), today=TODAY)
    return cell


@pytest.mark.parametrize(
    ("cell", "hosts", "answer"),
    [
        ("debian-12+qemu-tcg+none", [LOCAL], "runs on local"),
        ("debian-12+qemu-tcg+none", [], "untested: there is no host"),
        ("debian-12+kvm+svm", [LOCAL], "untested: no host offers kvm"),
        ("debian-12+esxi+vmx", [LOCAL], "untested: no host offers esxi (never run here)"),
        ("debian-12+kvm+svm", [host("a", hypervisor_kvm=True, extension_svm=False)], "untested: no host offers svm"),
        ("debian-12+kvm+svm", [host("a", hypervisor_kvm=None)], "untested: no host is known to offer kvm"),
        (
            "debian-12+kvm+vmx",
            [
                host("amd", hypervisor_kvm=True, extension_svm=True),
                host("intel", hypervisor_kvm=False, extension_vmx=True),
            ],
            "untested: no host offers kvm with vmx",
        ),
        (
            "debian-12+qemu-tcg+none",
            [host("small", memory_mib=256, **{"hypervisor_qemu-tcg": True})],
            "untested: no host offers 512 MiB of memory (small has 256)",
        ),
        (
            "debian-12+kvm+svm",
            [host("a", hypervisor_kvm=True, extension_svm=True), host("b", hypervisor_kvm=True, extension_svm=True)],
            "runs on a (also possible: b)",
        ),
        (
            "debian-12+qemu-tcg+none",
            [host("arm", **{"hypervisor_qemu-tcg": True, "arch_x86_64": False})],
            "untested: no host offers x86_64",
        ),
    ],
)
def test_says_the_host_or_the_one_unmet_clause(cell: str, hosts: list[MeasuredHost], answer: str) -> None:
    assert explain(shipped(cell), hosts) == answer


def test_a_host_may_say_why_it_does_not_offer_something() -> None:
    dud = MeasuredHost(
        id="lap",
        uri="qemu:///embed",
        capabilities={"hypervisor.kvm": False},
        reasons={"hypervisor.kvm": "/dev/kvm opens but no vCPU reached the marker in 5 s"},
    )
    answer = explain(shipped("debian-12+kvm+svm"), [dud])
    assert answer == "untested: no host offers kvm (lap: /dev/kvm opens but no vCPU reached the marker in 5 s)"


def test_uefi_guests_need_uefi_firmware() -> None:
    (cell,) = expand(matrix([guest("g", firmware="uefi")], [hypervisor("kvm", "none")]), today=TODAY)
    assert explain(cell, [host("h", hypervisor_kvm=True)]) == "untested: no host offers UEFI firmware"
    assert explain(cell, [host("h", hypervisor_kvm=True, firmware_uefi=True)]) == "runs on h"
    (cell,) = expand(matrix([guest("g", firmware="uefi-secure-boot")], [hypervisor("kvm", "none")]), today=TODAY)
    without = host("h", hypervisor_kvm=True, firmware_uefi=True)
    assert explain(cell, [without]) == "untested: no host offers UEFI firmware with Secure Boot"
    able = host("h", hypervisor_kvm=True, firmware_uefi=True, firmware_secure_boot=True)
    assert explain(cell, [able]) == "runs on h"


def test_memory_is_what_the_limit_leaves() -> None:
    limited = host("h", **{"hypervisor_qemu-tcg": True}).model_copy(update={"limits": HostLimits(memory_mib=300)})
    assert explain(shipped("debian-12+qemu-tcg+none"), [limited]).endswith("(h has 300)")


def test_excluded_cells_keep_their_reason_and_take_no_host() -> None:
    out = Rule(id="out", kind="exclude", guest=("a",), reason="never worked")
    cells = expand(matrix([guest("a"), guest("b")], [hypervisor("kvm", "none")], out), today=TODAY)
    first, second = bind(cells, [host("h", hypervisor_kvm=True)])
    assert (first.host_id, first.reason) == (None, "never worked")
    assert (second.host_id, second.reason) == ("h", None)


def test_cells_are_spread_by_the_hosts_limits() -> None:
    cells = expand(matrix([guest(f"g-{n}") for n in range(9)], [hypervisor("kvm", "none")]), today=TODAY)
    small, large = (
        host(name, hypervisor_kvm=True).model_copy(update={"limits": HostLimits(guests=n)})
        for name, n in (("s", 1), ("l", 2))
    )
    bound = [binding.host_id for binding in bind(cells, [small, large])]
    assert (bound.count("s"), bound.count("l")) == (3, 6)
    assert bound == [binding.host_id for binding in bind(cells, [small, large])]


def test_unknown_never_counts_as_yes() -> None:
    for value in (None, 1, "yes", False):
        cell = shipped("debian-12+kvm+svm")
        assert explain(cell, [host("h", hypervisor_kvm=value, extension_svm=True)]).startswith("untested: ")


def plan() -> Plan:
    data = load()
    issue = {"id": "r", "kind": "known-issue", "reason": "</x>'\"$(id)", "expires": TODAY}
    cells = expand(
        matrix(list(data.guests.values()), list(data.hypervisors.values()), Rule.model_validate(issue)),
        Selection(guest=("debian-12", "debian-13")),
        today=TODAY,
    )
    return Plan(
        run_id="20260101-000000",
        out=Path("/somewhere/out"),
        profile=resolve_profile(data, "smoke"),
        bindings=tuple(bind(cells, [LOCAL])),
        hosts=(LOCAL,),
        started=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_plan_travels_as_json_unchanged() -> None:
    sent = plan()
    received = Plan.model_validate_json(sent.model_dump_json())
    assert received == sent
    assert hash(received.bindings[0].cell) == hash(sent.bindings[0].cell)
    assert received.bindings[0].cell.known_issues[0].reason == "</x>'\"$(id)"


def test_a_plan_expects_every_probe_of_every_cell_with_a_host() -> None:
    made = plan()
    assert [binding.cell.id for binding in made.runnable] == ["debian-12+qemu-tcg+none", "debian-13+qemu-tcg+none"]
    expected = list(made.expected())
    assert len(expected) == len(set(expected)) == 32
    assert made.binding("debian-12+kvm+svm").reason == "no host offers kvm"
    assert made.host("local") == LOCAL
    with pytest.raises(KeyError):
        made.binding("nothing")


def test_a_plan_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        Plan.model_validate({**plan().model_dump(), "started": datetime(2026, 1, 1)})  # noqa: DTZ001 -- that is the point
