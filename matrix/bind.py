"""Binds cells to hosts whose measured capabilities meet them; what cannot run keeps its cell and says why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from matrix.model import Binding, Capability, Cell, HypervisorSpec, MeasuredHost


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that a cell needs of a host: a capability that must be true, or a number it must reach.

    `called` is how the reason names it.
    """

    capability: str
    called: str
    at_least: int = 0

    def met(self, host: MeasuredHost) -> bool:
        """Whether `host` is known to meet it."""
        seen = _seen(host, self.capability)
        if self.at_least:
            return isinstance(seen, int) and not isinstance(seen, bool) and seen >= self.at_least
        return seen is True


def needs(cell: Cell) -> tuple[Need, ...]:
    """What a cell needs of a host, in the order in which an unmet one is named."""
    wanted = [Need(f"hypervisor.{cell.hypervisor.id}", cell.hypervisor.id)]
    if cell.extension.cpu_flag is not None:
        wanted.append(Need(f"extension.{cell.extension.id}", cell.extension.id))
    wanted.append(Need(f"arch.{cell.guest.arch}", cell.guest.arch))
    if cell.guest.firmware != "bios":
        wanted.append(Need("firmware.uefi", "UEFI firmware"))
    if cell.guest.firmware == "uefi-secure-boot":
        wanted.append(Need("firmware.secure_boot", "UEFI firmware with Secure Boot"))
    memory = cell.guest.resources.memory_mib
    wanted.append(Need("memory_mib", f"{memory} MiB of memory", memory))
    return tuple(wanted)


def bind(cells: Iterable[Cell], hosts: Sequence[MeasuredHost]) -> list[Binding]:
    """A binding for every cell, in order: to the least loaded host that meets it, or with the one unmet clause.

    Load is the number of cells bound so far over the host's limit of guests; ties go to the first host.
    """
    answers = _Answers(hosts)
    bindings = []
    for cell in cells:
        able, reason = ((), cell.excluded) if cell.excluded is not None else answers.of(cell)
        chosen = min(able, key=answers.load, default=None)
        if chosen is not None:
            answers.bound[chosen.id] += 1
        others = tuple(host.id for host in able if host is not chosen)
        # Nothing here needs validating, and that is most of what making one costs.
        binding = Binding.model_construct(
            cell=cell, host_id=chosen.id if chosen else None, reason=reason, alternatives=others
        )
        bindings.append(binding)
    return bindings


def explain(cell: Cell, hosts: Sequence[MeasuredHost]) -> str:
    """One line: `runs on <host>` (and which others could), or `untested: <the one unmet clause>`."""
    (binding,) = bind([cell], hosts)
    if binding.host_id is None:
        return f"untested: {binding.reason}"
    others = f" (also possible: {', '.join(binding.alternatives)})" if binding.alternatives else ""
    return f"runs on {binding.host_id}{others}"


@dataclass(slots=True)
class _Answers:
    """Which hosts meet a cell; asked once for all cells that need the same."""

    hosts: Sequence[MeasuredHost]
    known: dict[tuple[object, ...], tuple[tuple[MeasuredHost, ...], str | None]] = field(default_factory=dict)
    bound: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bound = {host.id: 0 for host in self.hosts}

    def load(self, host: MeasuredHost) -> float:
        return self.bound[host.id] / (host.limits.guests or 1)

    def of(self, cell: Cell) -> tuple[tuple[MeasuredHost, ...], str | None]:
        guest = cell.guest
        key = (cell.hypervisor.id, cell.extension.id, guest.arch, guest.firmware, guest.resources.memory_mib)
        if key not in self.known:
            self.known[key] = self._search(cell)
        return self.known[key]

    def _search(self, cell: Cell) -> tuple[tuple[MeasuredHost, ...], str | None]:
        able = tuple(self.hosts)
        if not able:
            return (), "there is no host"
        met: list[Need] = []
        for need in needs(cell):
            still = tuple(host for host in able if need.met(host))
            if not still:
                return (), self._reason(need, met, able, cell.hypervisor)
            met.append(need)
            able = still
        return able, None

    def _reason(self, need: Need, met: Sequence[Need], able: Sequence[MeasuredHost], hypervisor: HypervisorSpec) -> str:
        """`no host offers svm`; with what it lacks company of, if some host offers it but not together with that."""
        # Company is named only if it matters: when nobody offers the thing at all, the thing alone is the clause.
        company = [other.called for other in met if any(need.met(host) and not other.met(host) for host in self.hosts)]
        what = f"{' and '.join(company)} with {need.called}" if company else need.called
        details = [detail for host in able if (detail := _why(host, need)) is not None]
        if need.capability == f"hypervisor.{hypervisor.id}" and hypervisor.never_run_here and not details:
            details = ["never run here"]
        unknown = any(host.capabilities.get(need.capability, False) is None for host in able)
        verb = "no host is known to offer" if unknown else "no host offers"
        return f"{verb} {what}" + (f" ({'; '.join(details)})" if details else "")


def _why(host: MeasuredHost, need: Need) -> str | None:
    seen = _seen(host, need.capability)
    if need.capability in host.reasons:
        return f"{host.id}: {host.reasons[need.capability]}"
    if need.at_least and seen is not None:
        return f"{host.id} has {seen}"
    return None


def _seen(host: MeasuredHost, capability: str) -> Capability:
    seen = host.capabilities.get(capability)
    limit = host.limits.memory_mib
    if capability == "memory_mib" and limit is not None:
        return min(seen, limit) if isinstance(seen, int) else limit
    return seen
