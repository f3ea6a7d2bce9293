"""How fast the matrix expands, against a plain loop that builds as many cells without any rule."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from datetime import date

from matrix.expand import expand
from matrix.model import Cell, ExtensionSpec, GuestSpec, HypervisorSpec, Matrix, Rule

TODAY = date(2026, 1, 1)
_HYPERVISORS = 10
_EXTENSIONS = 2


def synthetic_matrix(cells: int, rules: int) -> Matrix:
    """A matrix of `cells` cells (10 hypervisors x 2 extensions x guests) and `rules` rules of all kinds and shapes.

    Deterministic. A third each of the rules names guests by a prefix, by a glob in the middle, and one guest.
    """
    dice = random.Random(2006)  # noqa: S311 -- a benchmark's data, not a secret
    extensions = {name: ExtensionSpec(id=name, name=name) for name in (f"ext-{n}" for n in range(_EXTENSIONS))}
    hypervisors = {
        name: HypervisorSpec(id=name, name=name, driver="qemu", extensions=tuple(extensions))
        for name in (f"hv-{n}" for n in range(_HYPERVISORS))
    }
    guests = {
        name: GuestSpec(id=name, name=name, vendor=f"Vendor {n % 40}", version=str(n), image=name)
        for n in range(cells // (_HYPERVISORS * _EXTENSIONS))
        for name in [f"vendor{n % 40}-os-{n}"]
    }
    names = list(guests)
    made = {}
    for n in range(rules):
        vendor, digit = dice.randrange(40), dice.randrange(10)
        guest = (f"vendor{vendor}-*", f"*-os-*{digit}", dice.choice(names))[n % 3]
        made[f"rule-{n}"] = Rule(
            id=f"rule-{n}",
            kind=("exclude", "known-issue", "include", "known-issue")[n % 4],
            guest=(guest,),
            hypervisor=(f"hv-{dice.randrange(_HYPERVISORS)}",),
            extension=(f"ext-{dice.randrange(_EXTENSIONS)}",) if n % 2 else (),
            reason=f"because of {n}",
            expires=date(2030, 1, 1),
        )
    return Matrix(
        guests,
        hypervisors,
        extensions,
        profiles={},
        rules=made,
        labs={},
        lab_hosts={},
        claims={},
        sources={},
        origins={},
    )


def measure(rounds: int = 5) -> dict[str, float]:
    """Measured in one run, best of `rounds` each, taken in turn so that all see the same machine.

    `seconds_10k`, `seconds_100k`: CPU seconds to expand 10,000 and 100,000 cells with 300 rules; `growth`: their
    ratio over the ratio of cells (1.0 is linear); `rules_cost`: 100,000 cells with 300 rules over 100,000 cells with
    none (ratio); `over_plain_loop`: over a loop that only builds the cells (ratio).
    """
    small, large, bare = synthetic_matrix(10_000, 300), synthetic_matrix(100_000, 300), synthetic_matrix(100_000, 0)
    work: dict[str, Callable[[], list[Cell]]] = {
        "small": lambda: expand(small, today=TODAY),
        "large": lambda: expand(large, today=TODAY),
        "bare": lambda: expand(bare, today=TODAY),
        "loop": lambda: _plain_loop(large.guests, large.hypervisors, large.extensions),
    }
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        for name, run in work.items():
            best[name] = min(best[name], _cpu_seconds(run))
    return {
        "seconds_10k": best["small"],
        "seconds_100k": best["large"],
        "growth": best["large"] / best["small"] / 10,
        "rules_cost": best["large"] / best["bare"],
        "over_plain_loop": best["large"] / best["loop"],
    }


def _plain_loop(
    guests: Mapping[str, GuestSpec], hypervisors: Mapping[str, HypervisorSpec], extensions: Mapping[str, ExtensionSpec]
) -> list[Cell]:
    return [
        Cell(f"{guest.id}+{hypervisor.id}+{extension.id}", guest, hypervisor, extension)
        for guest in guests.values()
        for hypervisor in hypervisors.values()
        for extension in extensions.values()
    ]


def _cpu_seconds(work: Callable[[], list[Cell]]) -> float:
    gc.collect()
    started = time.process_time()
    made = work()
    taken = time.process_time() - started
    del made
    return taken
