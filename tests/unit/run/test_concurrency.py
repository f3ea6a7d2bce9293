"""How many workers a run gets, and why."""

from __future__ import annotations

from datetime import date

import pytest

from fixtures.concurrency import choose_workers
from matrix.expand import expand
from matrix.load import load
from matrix.model import Binding, HostLimits, MeasuredHost, Selection

(CELL,) = expand(load(), Selection(cell=("debian-12+qemu-tcg+none",)), today=date(2026, 1, 1))
NEED_MIB = 2 * (CELL.guest.resources.memory_mib + 192)


def bound(count: int, host: str = "local") -> list[Binding]:
    return [Binding(cell=CELL, host_id=host) for _ in range(count)]


def host(cpus: int, memory: int | None, name: str = "local", **limits: int) -> MeasuredHost:
    capabilities = {"cpus": cpus, "memory_mib": memory}
    return MeasuredHost(id=name, uri="test:///default", limits=HostLimits(**limits), capabilities=capabilities)


def test_the_reason_reads_as_a_sentence() -> None:
    workers = choose_workers(bound(2), [host(2, 23 * 1024)])
    assert workers.reason == "2 workers: 2 cells to test, host has 2 CPUs and 23 GiB"


@pytest.mark.parametrize(
    ("cells", "cpus", "memory", "expected"),
    [
        (1, 64, 1024 * 1024, 1),  # no more workers than cells
        (9, 4, 1024 * 1024, 4),  # the CPUs
        (9, 64, int(3.5 * NEED_MIB / 0.8), 3),  # the memory
        (9, 8, 256, 1),  # a host too small for one still tries one
        (9, 8, None, 8),  # memory unknown
        (0, 8, 1024, 0),
    ],
)
def test_the_scarcest_thing_decides(cells: int, cpus: int, memory: int | None, expected: int) -> None:
    assert choose_workers(bound(cells), [host(cpus, memory)]).count == expected


def test_limits_of_a_host_hold() -> None:
    workers = choose_workers(bound(9), [host(64, 1024 * 1024, guests=6)])
    assert workers.count == 3, "a cell has up to two guests at once"
    assert "limit of 6 guests" in workers.reason
    assert choose_workers(bound(9), [host(64, 1024 * 1024, memory_mib=2 * NEED_MIB)]).count == 2


def test_hosts_add_up_and_idle_ones_are_not_named() -> None:
    hosts = [host(2, 64 * 1024, "a"), host(3, 64 * 1024, "b"), host(9, 64 * 1024, "idle")]
    workers = choose_workers(bound(5, "a") + bound(5, "b"), hosts)
    assert workers.count == 5
    assert "idle" not in workers.reason


LABS = [
    MeasuredHost(
        id=name,
        uri="qemu+ssh:///system",
        lab_host=name,
        capabilities={"cpus": 2, "memory_mib": 4096},
        limits=HostLimits(guests=2),
    )
    for name in ("x", "y", "z")
]


def test_lab_hosts_share_this_machine() -> None:
    workers = choose_workers(bound(1, "x") + bound(1, "y") + bound(1, "z"), LABS, machine=2)
    assert workers.count == 2
    assert workers.reason == "2 workers: 3 cells to test, lab hosts share the 2 CPUs of this machine"
    assert choose_workers(bound(1, "x") + bound(1, "y"), LABS, machine=4).count == 2


def test_each_worker_has_a_lab_host_of_its_own() -> None:
    assert choose_workers(bound(3, "x"), LABS, machine=4).count == 3


def test_guests_of_this_machine_count_among_lab_hosts_and_those_elsewhere_do_not() -> None:
    here = MeasuredHost(id="local", uri="qemu:///embed", capabilities={"cpus": 2, "memory_mib": 64 * 1024})
    far = here.model_copy(update={"id": "far", "uri": "qemu+ssh://far/system"})
    assert choose_workers(bound(1, "local") + bound(1, "x") + bound(2, "y"), [here, *LABS], machine=2).count == 2
    assert choose_workers(bound(1, "far") + bound(1, "x") + bound(2, "y"), [far, *LABS], machine=2).count == 3
