"""Requirements and the capabilities that meet them; the answer is always the one unmet clause.

A requirement is text, as in `@pytest.mark.requires("agent", "vcpus>=2", "save|snapshots", "!uefi")`: a
capability's name, `!name`, or `name OP value` with OP one of >= <= > < == !=, and `|` between alternatives.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from matrix.model import Capability, Cell, MeasuredHost

_CLAUSE = re.compile(
    r"\s*(?P<not>!?)\s*(?P<name>[a-z][a-z0-9_.+-]*)\s*(?:(?P<op>>=|<=|==|!=|>|<)\s*(?P<value>[A-Za-z0-9_.+-]+)\s*)?",
    re.ASCII,
)
_ORDER: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on one capability: `name`, `!name` (negated), or `name OP value`."""

    name: str
    op: str = ""
    value: int | str = ""
    negated: bool = False

    def __str__(self) -> str:
        return f"{'!' if self.negated else ''}{self.name}{self.op}{self.value}"

    def unmet(self, capabilities: Mapping[str, Capability]) -> str | None:
        """None if met, else why not, as a fragment such as `no agent` or `needs vcpus>=2, has 1`."""
        seen = capabilities.get(self.name, False)
        if seen is None:
            return f"not known whether there is {self.name}" if not self.op else f"needs {self}, value unknown"
        if not self.op:
            return (
                None if bool(seen) is not self.negated else (f"has {self.name}" if self.negated else f"no {self.name}")
            )
        if self.op in _ORDER:
            number = isinstance(seen, int) and not isinstance(seen, bool) and isinstance(self.value, int)
            met = number and _ORDER[self.op](int(seen), int(self.value))
        else:
            met = (seen == self.value) is (self.op == "==")
        if met:
            return None
        return f"no {self.name}" if seen is False else f"needs {self}, has {seen}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """Alternatives, of which one clause must be met."""

    alternatives: tuple[Clause, ...]

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read one requirement. Raises ValueError with what is allowed."""
        return cls(tuple(_parse_clause(part, text) for part in text.split("|")))

    def __str__(self) -> str:
        return "|".join(str(clause) for clause in self.alternatives)

    @property
    def names(self) -> tuple[str, ...]:
        """The capabilities that it speaks of."""
        return tuple(clause.name for clause in self.alternatives)


def unmet(requirement: Requirement | str, capabilities: Mapping[str, Capability]) -> str | None:
    """None if `capabilities` meet the requirement, else the unmet clause as a sentence fragment.

    A capability that is not in the mapping is not offered; one that is None is unknown, and unknown never meets.
    Raises ValueError for text that is no requirement.
    """
    if isinstance(requirement, str):
        requirement = Requirement.parse(requirement)
    reasons = []
    for clause in requirement.alternatives:
        reason = clause.unmet(capabilities)
        if reason is None:
            return None
        reasons.append(reason)
    return " and ".join(reasons)


def first_unmet(requirements: Iterable[Requirement | str], capabilities: Mapping[str, Capability]) -> str | None:
    """The first clause of `requirements` that is not met, as `unmet` says it; None if all are."""
    return next(
        (reason for requirement in requirements if (reason := unmet(requirement, capabilities)) is not None), None
    )


def capabilities_of(cell: Cell, host: MeasuredHost | None = None) -> dict[str, Capability]:
    """What a probe may require of a cell on a host.

    The hypervisor's features (`save`, `balloon`, ...; `feature.<name>`, or `feature.<name>.<hypervisor>`, measured on the host
    overrides what the YAML says); `agent` if the guest has one and the hypervisor a channel to it; `shell` if it can be logged in to;
    `uefi`/`bios`/`secure_boot` firmware that the guest is started with; `vcpus`, `memory_mib`; `x86`; the guest's
    `family`, `arch`, `init`, `package_manager` and `boot` as words, each word also by itself (`systemd`, `dpkg`,
    `linux`, `direct`); `extension` (a word); and every measured capability of the host as `host.<name>`.
    """
    guest = cell.guest
    found: dict[str, Capability] = dict.fromkeys(cell.hypervisor.offers, True)
    measured = host.capabilities if host is not None else {}
    if host is not None:
        found |= {feature: measured[name] for feature, name in host.features(cell.hypervisor.id).items()}
    found["agent"] = found.get("agent", False) if guest.agent else False
    found["shell"] = guest.login.channel != "none"
    words: dict[str, str] = {
        "family": guest.family,
        "arch": guest.arch,
        "init": guest.init,
        "boot": guest.boot,
        "firmware": guest.firmware,
    }
    if guest.package_manager is not None:
        words["package_manager"] = guest.package_manager
    # What the guest is, not what the hypervisor could do: `uefi` among its offers must not say that this cell has it.
    found["uefi"] = False
    found["secure_boot"] = guest.firmware == "uefi-secure-boot"
    for name, word in words.items():
        found[name] = word
        found[word] = True
    found["uefi"] = guest.firmware != "bios"
    found["x86"] = guest.arch in {"x86_64", "i686"}
    found["extension"] = cell.extension.id
    found["vcpus"] = guest.resources.vcpus
    found["memory_mib"] = guest.resources.memory_mib
    found.update((f"host.{name}", value) for name, value in measured.items())
    return found


def _parse_clause(part: str, text: str) -> Clause:
    match = _CLAUSE.fullmatch(part)
    if match is None or (match["not"] and match["op"]):
        raise ValueError(f"'{text}' is no requirement (allowed: name, !name, name>=2, name==word, a|b)")
    value: int | str = match["value"] or ""
    if match["op"] in _ORDER:
        if not value or not str(value).isdigit():
            raise ValueError(f"'{text}' is no requirement: after {match['op']} comes a whole number")
        value = int(value)
    elif value and str(value).isdigit():
        value = int(value)
    return Clause(match["name"], match["op"] or "", value, bool(match["not"]))
