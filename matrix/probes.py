"""Which probes there are: read from the source of the suites, without importing any of it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matrix.mistakes import Problem, unknown
from matrix.model import Matrix, Profile
from matrix.words import check_probe


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe: its id `<area>/<name>`, where it is, and what its `requires` markers ask for, as written."""

    id: str
    file: str
    line: int
    requires: tuple[str, ...] = ()


@dataclass(slots=True)
class Probes:
    """All probes of some suites by id, and what is wrong with their files."""

    found: dict[str, Probe] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def scan(suites: Sequence[Path]) -> Probes:
    """The probes of suites folders: every function `test_<name>` in `<suites>/<area>/test_*.py`.

    A later folder's probe replaces an earlier one's of the same id; twice in one folder is a problem.
    """
    probes = Probes()
    for root in suites:
        if not root.is_dir():
            probes.problems.append(Problem(str(root), 0, "", "is not a folder"))
            continue
        here: dict[str, Probe] = {}
        for path in sorted(root.glob("*/test_*.py")):
            for probe in _probes_in(path, probes.problems):
                first = here.setdefault(probe.id, probe)
                if first is not probe:
                    message = f"probe {probe.id} is already in {first.file}:{first.line}"
                    probes.problems.append(Problem(probe.file, probe.line, "", message))
        probes.found.update(here)
    return probes


def unknown_probes(matrix: Matrix, known: Iterable[str], profiles: Iterable[str] | None = None) -> list[Problem]:
    """The mistakes of profiles that name a probe which is not among `known`; `profiles` are ids, None for all.

    The profiles that a profile extends count as part of it.
    """
    names = sorted(known)
    here = set(names)
    problems = []
    for profile in _with_bases(matrix, matrix.profiles if profiles is None else profiles):
        origin = matrix.origins.get(("profile", profile.id))
        for kind, listed in (("required", profile.required), ("optional", profile.optional)):
            for index, probe in enumerate(listed):
                if probe not in here:
                    file, line = (origin.file, origin.line(kind, index)) if origin else (f"profile {profile.id}", 0)
                    area = probe.split("/")[0]
                    near = [name for name in names if name.startswith(f"{area}/")] or names
                    problems.append(Problem(file, line, f"{kind}[{index}]", unknown("probe", probe, near)))
    return problems


def _with_bases(matrix: Matrix, profiles: Iterable[str]) -> list[Profile]:
    wanted: dict[str, Profile] = {}
    for start in profiles:
        name: str | None = start
        while name is not None and name in matrix.profiles and name not in wanted:
            wanted[name] = matrix.profiles[name]
            name = wanted[name].extends
    return list(wanted.values())


def _probes_in(path: Path, problems: list[Problem]) -> Iterator[Probe]:
    try:
        module = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, RecursionError, OSError) as error:
        line = error.lineno or 0 if isinstance(error, SyntaxError) else 0
        problems.append(Problem(str(path), line, "", f"cannot be read as Python: {error.__class__.__name__}: {error}"))
        return
    everywhere = _module_marks(module)
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            name = f"{path.parent.name}/{node.name.removeprefix('test_')}"
            try:
                check_probe(name)
            except ValueError as error:
                problems.append(Problem(str(path), node.lineno, "", f"probe '{name}' {error}"))
                continue
            yield Probe(name, str(path), node.lineno, (*everywhere, *_required(node.decorator_list)))


def _module_marks(module: ast.Module) -> tuple[str, ...]:
    for node in module.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
        ):
            return _required(node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value])
    return ()


def _required(marks: Iterable[ast.expr]) -> tuple[str, ...]:
    """The literal arguments of `pytest.mark.requires(...)` among `marks`."""
    return tuple(
        argument.value
        for mark in marks
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.requires"
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )
