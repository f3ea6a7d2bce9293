"""Lab hosts as cells: each is a guest that hosts, and is itself run by what every machine has: QEMU's translator, or Bochs."""

from __future__ import annotations

from collections.abc import Iterable

from matrix.model import Cell, HostSpec, HypervisorSpec, LabHostSpec, Matrix

_TRANSLATOR, _EXTENSION = "qemu-tcg", "none"

BOCHS = "bochs"
"""The driver of a lab host's cell whose machine is Bochs. Guests under test never run on it directly."""


def lab_cells(matrix: Matrix, hosts: Iterable[HostSpec]) -> tuple[Cell, ...]:
    """The lab hosts among `hosts` as cells, each once; the cell's guest has the lab host's id."""
    names = dict.fromkeys(host.lab_host for host in hosts if host.lab_host is not None)
    return tuple(_cell(matrix, matrix.lab_hosts[name]) for name in names)


def _cell(matrix: Matrix, spec: LabHostSpec) -> Cell:
    if spec.machine == "bochs":
        machine = HypervisorSpec(id=BOCHS, name="Bochs", driver=BOCHS, extensions=(_EXTENSION,))
    else:
        machine = matrix.hypervisors[_TRANSLATOR]
    return Cell(
        id=f"{spec.id}+{machine.id}+{_EXTENSION}",
        guest=spec,
        hypervisor=machine,
        extension=matrix.extensions[_EXTENSION],
    )


def lab_host_specs(matrix: Matrix) -> dict[str, HostSpec]:
    """The hosts of all labs that are lab hosts, by id."""
    specs = (host for lab in matrix.labs.values() for host in lab)
    return {host.id: host for host in specs if host.lab_host is not None}
