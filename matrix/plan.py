"""What a run is going to do, made once by the controller and handed to every worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict

from matrix.model import Binding, Cell, MeasuredHost, Profile


class Plan(BaseModel):
    """The cells of a run with their hosts, its resolved profile and where its results go.

    `lab_cells` are the lab hosts among the hosts, as the guests that they are.
    `out` is the absolute run folder; `started` is when the run began, with its time zone.
    Goes to workers as `plan.model_dump_json()` and back by `Plan.model_validate_json`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    out: Path
    profile: Profile
    bindings: tuple[Binding, ...]
    hosts: tuple[MeasuredHost, ...] = ()
    lab_cells: tuple[Cell, ...] = ()
    checkpoint_reuse: bool = True
    started: AwareDatetime

    @property
    def runnable(self) -> tuple[Binding, ...]:
        """The bindings that have a host, in order."""
        return tuple(binding for binding in self.bindings if binding.host_id is not None)

    def binding(self, cell_id: str) -> Binding:
        """The binding of a cell. Raises KeyError."""
        for binding in self.bindings:
            if binding.cell.id == cell_id:
                return binding
        raise KeyError(cell_id)

    def host(self, host_id: str) -> MeasuredHost:
        """A measured host by id. Raises KeyError."""
        for host in self.hosts:
            if host.id == host_id:
                return host
        raise KeyError(host_id)

    def expected(self) -> Iterator[tuple[Cell, str]]:
        """Every (cell, probe id) of which a result must be seen: cells with a host x the profile's probes."""
        for binding in self.runnable:
            for probe in self.profile.probes:
                yield binding.cell, probe
