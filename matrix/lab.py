"""Lab hosts as cells: each is a guest that hosts, and is itself run by the hypervisor that every machine has."""

from __future__ import annotations

from collections.abc import Iterable

from matrix.model import Cell, HostSpec, Matrix

_HYPERVISOR, _EXTENSION = "qemu-tcg", "none"


def lab_cells(matrix: Matrix, hosts: Iterable[HostSpec]) -> tuple[Cell, ...]:
    """The lab hosts among `hosts` as cells, each once; the cell's guest has the lab host's id."""
    names = dict.fromkeys(host.lab_host for host in hosts if host.lab_host is not None)
    return tuple(
        Cell(
            id=f"{name}+{_HYPERVISOR}+{_EXTENSION}",
            guest=matrix.lab_hosts[name],
            hypervisor=matrix.hypervisors[_HYPERVISOR],
            extension=matrix.extensions[_EXTENSION],
        )
        for name in names
    )


def lab_host_specs(matrix: Matrix) -> dict[str, HostSpec]:
    """The hosts of all labs that are lab hosts, by id."""
    specs = (host for lab in matrix.labs.values() for host in lab)
    return {host.id: host for host in specs if host.lab_host is not None}
