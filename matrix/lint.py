"""What is right as YAML and still not as it should be: dead references, expired rules, guests past their end of life."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from matrix.expand import expand
from matrix.glob import Ids, any_pattern
from matrix.mistakes import Problem, unknown
from matrix.model import Matrix, Rule
from matrix.probes import Probe, Probes, unknown_probes
from matrix.requirement import Requirement, capabilities_of


@dataclass(frozen=True, slots=True)
class Finding:
    """A `mistake` stops a run that uses it; a `warning` wants to be looked at."""

    severity: Literal["mistake", "warning"]
    problem: Problem

    def __str__(self) -> str:
        return f"{self.severity}: {self.problem}"


def lint(
    matrix: Matrix,
    *,
    today: date,
    probes: Probes | None = None,
    images: Mapping[str, Collection[str]] | None = None,
) -> list[Finding]:
    """Everything found, mistakes first, each in the order of files and lines.

    `probes` from `matrix.probes.scan`; `images` are those of the image catalogue by id, each with what a guest's `boot` may be;
    what is None is not checked.
    """
    mistakes: list[Problem] = []
    warnings: list[Problem] = []
    if probes is not None:
        mistakes += probes.problems
        mistakes += unknown_probes(matrix, probes.found)
        mistakes += _requirements(matrix, probes.found.values(), today)
        warnings += _unreferenced_probes(matrix, probes.found.values())
    if images is not None:
        mistakes += _images(matrix, images)
    warnings += _rules(matrix, today, None if probes is None else list(probes.found))
    warnings += _needed_nowhere(matrix)
    warnings += _ends_of_life(matrix, today)
    warnings += _unreferenced(matrix)
    warnings += _claims(matrix)
    return [Finding("mistake", problem) for problem in sorted(set(mistakes))] + [
        Finding("warning", problem) for problem in sorted(set(warnings))
    ]


def _at(matrix: Matrix, kind: str, name: str, field: str, message: str) -> Problem:
    origin = matrix.origins.get((kind, name))
    return (
        Problem(origin.file, origin.line(field), field, message)
        if origin
        else Problem(f"{kind} {name}", 0, field, message)
    )


def _images(matrix: Matrix, images: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    lacks = {"direct": "no kernel beside its disk", "loader": "no boot loader on its disk"}
    for guest in matrix.guests.values():
        if guest.image not in images:
            yield _at(matrix, "guest", guest.id, "image", unknown("image", guest.image, sorted(images)))
        elif guest.boot not in images[guest.image]:
            allowed = " or ".join(f"'{boot}'" for boot in sorted(images[guest.image]))
            why = f"must be {allowed}: image '{guest.image}' has {lacks[guest.boot]}"
            yield _at(matrix, "guest", guest.id, "boot", why)


def _requirements(matrix: Matrix, probes: Iterable[Probe], today: date) -> Iterator[Problem]:
    """Markers that are no requirement, or that nothing in the matrix could ever meet."""
    known: set[str] = set()
    for cell in expand(matrix, today=today):
        known.update(capabilities_of(cell))
    for probe in probes:
        for text in probe.requires:
            try:
                names = Requirement.parse(text).names
            except ValueError as error:
                yield Problem(probe.file, probe.line, "requires", str(error))
                continue
            for name in names:
                if name not in known and not name.startswith("host."):
                    yield Problem(probe.file, probe.line, "requires", unknown("capability", name, sorted(known)))


def _unreferenced_probes(matrix: Matrix, probes: Iterable[Probe]) -> Iterator[Problem]:
    used = {probe for profile in matrix.profiles.values() for probe in profile.probes}
    for probe in probes:
        if probe.id not in used:
            yield Problem(probe.file, probe.line, "", f"probe {probe.id} is in no profile")


def _rules(matrix: Matrix, today: date, probes: list[str] | None) -> Iterator[Problem]:
    axes = (
        ("guest", Ids(matrix.guests)),
        ("hypervisor", Ids(matrix.hypervisors)),
        ("extension", Ids(matrix.extensions)),
    )
    for rule in matrix.rules.values():
        if rule.expires is not None and rule.expires < today:
            yield _at(
                matrix, "rule", rule.id, "expires", f"rule '{rule.id}' expired on {rule.expires} and no longer holds"
            )
        dead = False
        for axis, ids in axes:
            for glob in getattr(rule, axis):
                if not ids.matching(glob):
                    dead = True
                    yield _at(
                        matrix, "rule", rule.id, axis, f"rule '{rule.id}' names '{glob}', which matches no {axis}"
                    )
        for glob in rule.probes if probes is not None else ():
            if not any(map(any_pattern([glob]).match, probes or ())):
                yield _at(matrix, "rule", rule.id, "probes", f"rule '{rule.id}' names '{glob}', which matches no probe")
        # A rule for kinds of guest that nobody has yet is a standing rule, not a dead one.
        standing = rule.family or rule.arch or rule.firmware
        if not dead and not standing and not _covers_any(rule, matrix, axes):
            yield _at(matrix, "rule", rule.id, "id", f"rule '{rule.id}' covers no cell")


def _covers_any(rule: Rule, matrix: Matrix, axes: tuple[tuple[str, Ids], ...]) -> bool:
    guests, hypervisors, extensions = (ids.any_of(getattr(rule, axis) or ("*",)) for axis, ids in axes)
    arches = {matrix.guests[guest].arch for guest in guests}
    return any(
        not extensions.isdisjoint(matrix.hypervisors[name].extensions)
        and not arches.isdisjoint(matrix.hypervisors[name].arches)
        for name in hypervisors
    )


def _needed_nowhere(matrix: Matrix) -> Iterator[Problem]:
    """CPUs that a guest needs under hypervisors that do not exist."""
    hypervisors = Ids(matrix.hypervisors)
    for guest in matrix.guests.values():
        for glob in guest.cpu.hypervisors if guest.cpu is not None else ():
            if not hypervisors.matching(glob):
                message = f"guest '{guest.id}' names '{glob}', which matches no hypervisor"
                yield _at(matrix, "guest", guest.id, "cpu", message)


def _ends_of_life(matrix: Matrix, today: date) -> Iterator[Problem]:
    for guest in matrix.guests.values():
        if guest.end_of_life is not None and guest.end_of_life < today:
            yield _at(
                matrix,
                "guest",
                guest.id,
                "end_of_life",
                f"guest '{guest.id}' is past its end of life {guest.end_of_life}",
            )
    for hypervisor in matrix.hypervisors.values():
        end = hypervisor.end_of_life
        # A historical row that is marked as such, and never run, is as it should be.
        if end is not None and end < today and not hypervisor.never_run_here:
            message = f"hypervisor '{hypervisor.id}' is past its end of life {end}"
            yield _at(matrix, "hypervisor", hypervisor.id, "end_of_life", message)


def _unreferenced(matrix: Matrix) -> Iterator[Problem]:
    used = {name for hypervisor in matrix.hypervisors.values() for name in hypervisor.extensions}
    for extension in matrix.extensions:
        if extension not in used:
            yield _at(matrix, "extension", extension, "id", f"extension '{extension}' is used by no hypervisor")
    arches = {arch for hypervisor in matrix.hypervisors.values() for arch in hypervisor.arches}
    for guest in matrix.guests.values():
        if guest.arch not in arches:
            yield _at(
                matrix, "guest", guest.id, "arch", f"guest '{guest.id}' is {guest.arch}, which no hypervisor runs"
            )


def _claims(matrix: Matrix) -> Iterator[Problem]:
    """Claims that speak of no hypervisor of ours; that a guest is none of ours is no mistake: old claims are about old guests."""
    hypervisors = Ids(matrix.hypervisors)
    for claim in matrix.claims.values():
        for glob in claim.about.hypervisor:
            if not hypervisors.matching(glob):
                message = f"claim '{claim.id}' names '{glob}', which matches no hypervisor"
                yield _at(matrix, "claim", claim.id, "about", message)
    used = {claim.says.source for claim in matrix.claims.values()}
    for source in matrix.sources:
        if source not in used:
            yield _at(matrix, "source", source, "id", f"source '{source}' is named by no claim")
