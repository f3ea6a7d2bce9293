"""The second host of a cell: who it can be, or the one clause that says why there is none."""

from __future__ import annotations

from datetime import date

import pytest

from matrix.bind import bind
from matrix.expand import expand
from matrix.load import choose_hosts, load
from matrix.model import Cell, MeasuredHost, Selection
from matrix.second_host import second_hosts

KVM, PV = "debian-12+kvm+svm", "debian-12+xen-pv+none"


def cell(cell_id: str) -> Cell:
    (found,) = expand(load(), Selection(cell=(cell_id,)), today=date(2026, 1, 1))
    return found


def machine(name: str, uri: str = "qemu+ssh://{}.example/system", **fields: object) -> MeasuredHost:
    offers = ("kvm", "xen-pv") if not str(fields.get("only", "")) else (str(fields.pop("only")),)
    capabilities = {f"hypervisor.{each}": True for each in offers}
    return MeasuredHost.model_validate(
        {
            "id": name,
            "uri": uri.format(name),
            "capabilities": {**capabilities, "extension.svm": True, "arch.x86_64": True, "memory_mib": 8192},
            **fields,
        }
    )


def lab(name: str, of: str = "lab-kvm") -> MeasuredHost:
    return machine(name, "qemu+ssh:///system", lab_host=of)


@pytest.mark.parametrize(
    ("cell_id", "hosts", "others", "reason"),
    [
        (KVM, [machine("a"), machine("b"), machine("c")], ("b", "c"), None),
        (KVM, [machine("a")], (), "no second host offers kvm with svm"),
        (PV, [machine("a")], (), "no second host offers xen-pv"),
        (KVM, [machine("a", only="kvm"), machine("b", only="xen-pv")], (), "no second host offers kvm with svm"),
        (KVM, [lab("a"), lab("b")], ("b",), None),
        (KVM, [machine("a"), lab("b")], (), "no second host that offers kvm with svm is reached from a"),
        (
            KVM,
            [machine("a"), machine("b", "qemu:///embed")],
            (),
            "no second host that offers kvm with svm is reached from a",
        ),
        (
            KVM,
            [machine("a"), machine("b", network="default")],
            (),
            "no second host that offers kvm with svm is reached from a",
        ),
        (KVM, [machine("a", network="one"), machine("b", network="two")], ("b",), None),
    ],
)
def test_who_else_can_have_the_guest(
    cell_id: str, hosts: list[MeasuredHost], others: tuple[str, ...], reason: str | None
) -> None:
    (binding,) = bind([cell(cell_id)], hosts)
    assert binding.host_id == "a"
    assert second_hosts(binding, hosts[0], hosts) == (others, reason)


def test_a_cell_that_has_moved_may_go_back() -> None:
    hosts = [machine("a"), machine("b")]
    (binding,) = bind([cell(KVM)], hosts)
    assert second_hosts(binding, hosts[1], hosts) == (("a",), None)


def test_the_shipped_pairs_are_pairs_of_the_same_lab_hosts() -> None:
    data = load()
    pairs = choose_hosts(data, ["software-pairs"])
    kinds = [host.lab_host for host in pairs]
    assert {kind: kinds.count(kind) for kind in kinds} == {"lab-kvm": 2, "lab-xen": 2}
    assert {host for host in data.labs["software"] if host.lab_host} <= set(pairs)
