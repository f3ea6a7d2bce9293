"""Loads the shipped image catalogue and recipes, and overlays of them; all mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from images.forms import ImageEntry, InstallEntry, PairEntry, Source
from images.mirrors import load_mirrors
from images.model import BuildEntry, PlannedBuild, PublishedEntry, Recipe
from images.vendor_keys import TrustedKey, load_keys
from matrix.document import Document, Mistakes, Problem, read_document
from matrix.load import layer_problem, yaml_files
from matrix.mistakes import unknown

_SHIPPED = Path(__file__).resolve().parent
_WITH_ADDRESSES = PublishedEntry | PairEntry | InstallEntry


class Catalogue(Mapping[str, Source]):
    """All images that are known, by id, in the order of their ids; every build has its recipe resolved."""

    def __init__(
        self,
        sources: Iterable[Source],
        files: Mapping[str, Path] | None = None,
        keys: Mapping[str, TrustedKey] | None = None,
    ) -> None:
        self.files = dict(files or {})
        """The file in which each image is written."""
        self.vendor_keys = dict(keys or {})
        """Vendors' keys by name."""
        self._sources = {source.id: source for source in sorted(sources, key=lambda source: source.id)}

    def __getitem__(self, name: str) -> Source:
        return self._sources[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def load_catalogue(overlays: Sequence[Path] = ()) -> Catalogue:
    """Load the shipped catalogue, then `images/*.yaml`, `images/recipes/*.yaml` and `mirrors.yaml` of overlay folders.

    A later entry or recipe with the same id replaces the earlier one. Raises Mistakes.
    """
    problems = [problem for overlay in overlays if (problem := layer_problem(overlay))]
    if problems:
        raise Mistakes(problems)
    entries = _layer(_SHIPPED / "catalogue", ImageEntry, problems)
    recipes = _layer(_SHIPPED / "recipes", Recipe, problems)
    for overlay in overlays:
        own = _layer(overlay / "images", ImageEntry, problems)
        entries |= {name: replace(each, value=each.value.out_of(overlay)) for name, each in own.items()}
        recipes |= _layer(overlay / "images" / "recipes", Recipe, problems)
    keys = load_keys(overlays, problems)
    resolved = {name: _resolve(document, recipes, problems) for name, document in recipes.items()}
    for document in entries.values():
        entry = document.value
        if isinstance(entry, BuildEntry) and entry.recipe not in recipes:
            problems.append(_problem(document, "recipe", unknown("recipe", entry.recipe, sorted(recipes))))
        elif isinstance(entry, BuildEntry) and (xen := resolved[entry.recipe].xen) is not None:
            name, other = ("UEFI", "bios") if xen.loader == "uefi" else ("a BIOS", "uefi")
            if other in entry.loaders:
                why = f"must not have {other}: the recipe's Xen starts from {name} only"
                problems.append(_problem(document, "loaders", why))
        if isinstance(entry, PublishedEntry) and entry.checksums and entry.checksums.signature:
            key = entry.checksums.signature.key
            if key not in keys:
                problems.append(_problem(document, "checksums", unknown("key", key, sorted(keys))))
    mirrors = load_mirrors(overlays, problems)
    if problems:
        raise Mistakes(problems)
    sources = [_source(document, resolved) for document in entries.values()]
    sources = [mirrors.applied(each) if isinstance(each, _WITH_ADDRESSES) else each for each in sources]
    return Catalogue(sources, {name: Path(document.origin.file) for name, document in entries.items()}, keys)


def _layer(folder: Path, model: Any, problems: list[Problem]) -> dict[str, Document[Any]]:
    """The items of one folder by id. Each file holds one item and is named after it, so ids cannot repeat."""
    layer: dict[str, Document[Any]] = {}
    for path in yaml_files(folder, problems):
        reading = read_document(path, model)
        problems.extend(reading.problems)
        for document in reading.documents:
            if document.value.id != path.stem:
                problems.append(
                    _problem(document, "id", f"must be '{path.stem}' like the file's name, not '{document.value.id}'")
                )
            layer[document.value.id] = document
    return layer


def _problem(document: Document[Any], field: str, message: str) -> Problem:
    return Problem(document.origin.file, document.origin.line(field), field, message)


def _resolve(document: Document[Recipe], recipes: Mapping[str, Document[Recipe]], problems: list[Problem]) -> Recipe:
    chain = [document]
    while (parent := chain[-1].value.extends) is not None:
        if parent not in recipes:
            problems.append(_problem(chain[-1], "extends", unknown("recipe", parent, sorted(recipes))))
            return document.value
        if any(parent == seen.value.id for seen in chain):
            problems.append(_problem(chain[-1], "extends", f"must not extend itself through '{parent}'"))
            return document.value
        chain.append(recipes[parent])
    resolved = chain.pop().value
    while chain:
        resolved = chain.pop().value.over(resolved)
    return resolved


def _source(document: Document[Any], recipes: Mapping[str, Recipe]) -> Source:
    entry: BuildEntry | Source = document.value
    if isinstance(entry, BuildEntry):
        return PlannedBuild(entry=entry, recipe=recipes[entry.recipe])
    folder = Path(document.origin.file).resolve().parent
    if isinstance(entry, InstallEntry):
        return entry.with_addresses(lambda address: _absolute(address, folder))
    if isinstance(entry, PairEntry):
        kernel, initrd = (
            file.model_copy(update={"url": _absolute(file.url, folder)}) for file in (entry.kernel, entry.initrd)
        )
        return entry.model_copy(update={"kernel": kernel, "initrd": initrd})
    if not isinstance(entry, PublishedEntry):
        return entry
    lists = entry.checksums
    if lists is not None:
        signature = lists.signature
        if signature is not None and signature.url is not None:
            signature = signature.model_copy(update={"url": _absolute(signature.url, folder)})
        lists = lists.model_copy(update={"url": _absolute(lists.url, folder), "signature": signature})
    return entry.model_copy(update={"url": _absolute(entry.url, folder), "checksums": lists})


def _absolute(address: str, folder: Path) -> str:
    """A relative path counts from the folder of the file it is written in."""
    return address if "://" in address else str((folder / address).resolve())
