"""Loads the shipped matrix data and overlays of it; what is wrong anywhere is reported all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from matrix.claim import Claim, Source
from matrix.document import Document, Mistakes, Problem, Reading, read_document, read_items
from matrix.mistakes import unknown
from matrix.model import (
    ExtensionSpec,
    GuestSpec,
    HostSpec,
    HypervisorSpec,
    LabHostSpec,
    Matrix,
    Origin,
    Profile,
    Rule,
)

SHIPPED = Path(__file__).resolve().parent

T = TypeVar("T")

# What an overlay may hold; `images` and `mirrors.yaml` belong to the image catalogue, `suites` to the probes.
_FILES = {
    "hypervisors.yaml": ("hypervisors", "hypervisor", HypervisorSpec),
    "extensions.yaml": ("extensions", "extension", ExtensionSpec),
    "profiles.yaml": ("profiles", "profile", Profile),
    "rules.yaml": ("rules", "rule", Rule),
    "sources.yaml": ("sources", "source", Source),
    "claims.yaml": ("claims", "claim", Claim),
}
_FOLDERS = ("guests", "hosts", "lab_hosts", "images", "suites")
_OTHERS = ("mirrors.yaml",)


@dataclass(slots=True)
class _Kind(Generic[T]):
    """All items of one kind; `known` holds the ids of items with problems too, so that references to them are not
    reported as a second mistake."""

    items: dict[str, Document[T]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def values(self) -> dict[str, T]:
        return {name: document.value for name, document in self.items.items()}


class _Loading:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.kinds: dict[str, _Kind[Any]] = {}
        self.labs: dict[str, tuple[HostSpec, ...]] = {}

    def kind(self, name: str) -> _Kind[Any]:
        return self.kinds.setdefault(name, _Kind())

    def layer(self, root: Path) -> None:
        if wrong := layer_problem(root):
            self.problems.append(wrong)
            return
        for name, (key, kind, model) in _FILES.items():
            if (root / name).exists() or (root / name).is_symlink():
                self.add(kind, read_items(root / name, key, model))
        for kind, folder, model in (("guest", "guests", GuestSpec), ("lab host", "lab_hosts", LabHostSpec)):
            guests = []
            for path in yaml_files(root / folder, self.problems):
                reading: Reading[Any] = read_document(path, model)
                self.named_like_file(path, reading)
                guests.append(reading)
            self.add(kind, *guests)
        hosts = []
        for path in yaml_files(root / "hosts", self.problems):
            reading = read_items(path, "hosts", HostSpec)
            hosts.append(reading)
            self.labs[path.stem] = tuple(document.value for document in reading.documents)
        self.add("host", *hosts)

    def named_like_file(self, path: Path, reading: Reading[Any]) -> None:
        for document in reading.documents:
            if document.value.id != path.stem:
                message = f"must be '{path.stem}', the name of its file, not '{document.value.id}'"
                self.problems.append(Problem(str(path), document.origin.line("id"), "id", message))

    def add(self, kind: str, *readings: Reading[Any]) -> None:
        """Add a layer's items of a kind: the same id twice in one layer is a mistake, in a later layer an override."""
        into = self.kind(kind)
        first: dict[str, Origin] = {}
        for reading in readings:
            self.problems.extend(reading.problems)
            into.known.update(reading.ids)
            for document in reading.documents:
                name, origin = document.value.id, document.origin
                if name in first:
                    if kind == "host" and document.value == into.items[name].value:
                        continue  # one machine may belong to several labs
                    where = f"{first[name].file}:{first[name].line('id')}"
                    self.problems.append(
                        Problem(origin.file, origin.line("id"), "id", f"'{name}' is already the id in {where}")
                    )
                    continue
                first[name] = origin
                into.items[name] = document

    def check(self) -> None:
        """References between items: to extensions, successors, profiles, sources; and that there is anything to certify."""
        for document in self.kind("hypervisor").items.values():
            spec = document.value
            for index, name in enumerate(spec.extensions):
                self.refer(document.origin, ("extensions", index), "extension", name)
            if spec.successor is not None:
                self.refer(document.origin, ("successor",), "hypervisor", spec.successor)
        for document in self.kind("profile").items.values():
            if document.value.extends is not None:
                self.refer(document.origin, ("extends",), "profile", document.value.extends)
        for document in self.kind("host").items.values():
            if document.value.lab_host is not None:
                self.refer(document.origin, ("lab_host",), "lab host", document.value.lab_host)
        for document in self.kind("claim").items.values():
            self.refer(document.origin, ("says", "source"), "source", document.value.says.source)
        self.problems.extend(_cycles(self.kind("profile").items))
        if not self.problems:
            for kind in ("guest", "hypervisor", "extension", "profile"):
                if not self.kind(kind).items:
                    self.problems.append(Problem("matrix", 0, "", f"is empty: there is no {kind}"))

    def refer(self, origin: Origin, field: tuple[str | int, ...], kind: str, name: str) -> None:
        known = self.kind(kind).known
        if name not in known:
            label = ".".join(str(step) for step in field)
            self.problems.append(Problem(origin.file, origin.line(*field), label, unknown(kind, name, sorted(known))))

    def matrix(self) -> Matrix:
        self.check()
        if self.problems:
            raise Mistakes(self.problems)
        origins = {
            (kind, name): document.origin
            for kind, found in self.kinds.items()
            for name, document in found.items.items()
        }
        return Matrix(
            guests=self.kind("guest").values(),
            hypervisors=self.kind("hypervisor").values(),
            extensions=self.kind("extension").values(),
            profiles=self.kind("profile").values(),
            rules=self.kind("rule").values(),
            labs=self.labs,
            lab_hosts=self.kind("lab host").values(),
            claims=self.kind("claim").values(),
            sources=self.kind("source").values(),
            origins=origins,
        )


def layer_problem(root: Path) -> Problem | None:
    """What is wrong with `root` as a folder of data, whatever stands in its files; None if nothing is."""
    if not root.is_dir():
        return Problem(str(root), 0, "", "is not a folder")
    if not any((root / name).exists() for name in (*_FILES, *_FOLDERS, *_OTHERS)):
        allowed = ", ".join([*_FILES, *_OTHERS, *(f"{name}/" for name in _FOLDERS)])
        return Problem(str(root), 0, "", f"holds no matrix data; expected one of {allowed}")
    return None


def yaml_files(folder: Path, problems: list[Problem]) -> list[Path]:
    """The YAML files of a folder that need not be there; what is wrong with it is added to `problems`."""
    if not folder.exists() and not folder.is_symlink():
        return []
    if not folder.is_dir():
        problems.append(Problem(str(folder), 0, "", "must be a folder"))
        return []
    try:
        # Path.glob would take a folder that must not be read for an empty one.
        paths = sorted(folder.iterdir())
    except OSError as error:
        problems.append(Problem(str(folder), 0, "", f"cannot be read: {error.strerror or error}"))
        return []
    problems.extend(Problem(str(path), 0, "", "must end in .yaml") for path in paths if path.suffix == ".yml")
    return [path for path in paths if path.suffix == ".yaml" and not path.name.startswith(".")]


def load(overlays: Sequence[Path] = (), *, shipped: Path = SHIPPED) -> Matrix:
    """The shipped data with each overlay folder laid over it in turn; a later item replaces one of the same id.

    An overlay is a folder with any of guests/*.yaml, hosts/*.yaml, lab_hosts/*.yaml, hypervisors.yaml, extensions.yaml,
    profiles.yaml, rules.yaml, sources.yaml, claims.yaml, or of what the image catalogue and the probes read there.
    Rules that are replaced keep their place; new ones come after, and so win.

    Raises Mistakes with all mistakes of all files.
    """
    loading = _Loading()
    for root in (shipped, *overlays):
        loading.layer(root)
    return loading.matrix()


def choose_hosts(matrix: Matrix, words: Iterable[str]) -> tuple[HostSpec, ...]:
    """The hosts of `words`: each a lab (name of a hosts/*.yaml), a host's id, or the path of a hosts YAML file.

    Raises Mistakes.
    """
    chosen: dict[str, HostSpec] = {}
    problems: list[Problem] = []
    by_id = {host.id: host for lab in matrix.labs.values() for host in lab}
    for word in words:
        if word in matrix.labs:
            found: Iterable[HostSpec] = matrix.labs[word]
        elif word in by_id:
            found = [by_id[word]]
        elif "/" in word or word.endswith((".yaml", ".yml")):
            reading = read_items(Path(word), "hosts", HostSpec)
            problems.extend(reading.problems)
            found = [document.value for document in reading.documents]
        else:
            problems.append(Problem("--hosts", 0, "", unknown("lab or host", word, [*matrix.labs, *by_id])))
            continue
        chosen.update((host.id, host) for host in found)
    if problems:
        raise Mistakes(problems)
    return tuple(chosen.values())


def resolve_profile(matrix: Matrix, profile_id: str) -> Profile:
    """A profile with everything that it extends folded in, each probe once, base first.

    Raises Mistakes if there is no such profile.
    """
    if profile_id not in matrix.profiles:
        raise Mistakes([Problem("--profile", 0, "", unknown("profile", profile_id, matrix.profiles))])
    chain = []
    name: str | None = profile_id
    while name is not None:
        chain.append(matrix.profiles[name])
        name = chain[-1].extends
    required = dict.fromkeys(probe for profile in reversed(chain) for probe in profile.required)
    optional = dict.fromkeys(
        probe for profile in reversed(chain) for probe in profile.optional if probe not in required
    )
    return Profile(id=profile_id, required=tuple(required), optional=tuple(optional))


def _cycles(profiles: Mapping[str, Document[Profile]]) -> list[Problem]:
    """One problem for each circle of profiles that extend each other."""
    problems, done = [], set()
    for start in profiles:
        path: list[str] = []
        name: str | None = start
        while name is not None and name in profiles and name not in done and name not in path:
            path.append(name)
            name = profiles[name].value.extends
        if name is not None and name in path:
            circle = [*path[path.index(name) :], name]
            origin = profiles[name].origin
            problems.append(
                Problem(origin.file, origin.line("extends"), "extends", f"goes in a circle: {' -> '.join(circle)}")
            )
        done.update(path)
    return problems
