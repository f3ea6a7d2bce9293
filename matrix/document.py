"""YAML files read into pydantic models, with every mistake named by file, line and field, all at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from pydantic import TypeAdapter, ValidationError

from matrix.mistakes import Mistakes, Problem, allowed_fields, field_name, shown, unknown, wording
from matrix.model import Origin
from matrix.tree import Location, Tree, Unreadable, read_tree

__all__ = ["Document", "Mistakes", "Problem", "Reading", "load_documents", "read_document", "read_items"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document(Generic[T]):
    """A valid item and where it was written."""

    value: T
    origin: Origin


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What could be read: the valid items, the problems, and the ids of all items, also of those with problems."""

    documents: tuple[Document[T], ...]
    problems: tuple[Problem, ...]
    ids: tuple[str, ...]


@overload
def load_documents(paths: Iterable[Path], model: type[T]) -> list[Document[T]]: ...
@overload
def load_documents(paths: Iterable[Path], model: Any) -> list[Document[Any]]: ...
def load_documents(paths: Iterable[Path], model: Any) -> list[Document[Any]]:
    """Read one item a file; `model` is a pydantic model or a (discriminated, Annotated) union of models.

    Raises Mistakes with the problems of all files.
    """
    readings = [read_document(path, model) for path in paths]
    problems = [problem for reading in readings for problem in reading.problems]
    if problems:
        raise Mistakes(problems)
    return [document for reading in readings for document in reading.documents]


def read_document(path: Path, model: Any) -> Reading[Any]:
    """Read a file that is one item. Raises nothing: what is wrong is in the result."""
    try:
        tree = read_tree(path)
    except Unreadable as error:
        return Reading((), (error.problem,), ())
    return _read(tree, (), [tree.data], model)


def read_items(path: Path, key: str, model: Any) -> Reading[Any]:
    """Read a file that is a mapping with the one key `key`, a list of items. Raises nothing."""
    try:
        tree = read_tree(path)
    except Unreadable as error:
        return Reading((), (error.problem,), ())
    data = tree.data
    if not isinstance(data, dict):
        tree.problems.append(_problem(tree, (), f"must be a mapping with the key '{key}', not {shown(data)}"))
        return Reading((), tuple(tree.problems), ())
    tree.problems.extend(_problem(tree, (name,), unknown("key", name, [key])) for name in data if name != key)
    items = data.get(key)
    if not isinstance(items, list):
        tree.problems.append(
            _problem(tree, (key,), f"must be a list, not {shown(items)}" if key in data else "is missing")
        )
        items = []
    return _read(tree, (key,), items, model)


def _problem(tree: Tree, location: Location, message: str) -> Problem:
    return Problem(tree.file, tree.line(location), field_name(location), message)


def _read(tree: Tree, parent: Location, items: list[object], model: Any) -> Reading[Any]:
    """Validate `items`: the one at `()` when there is no parent, else those of the list at `parent`."""
    adapter: TypeAdapter[Any] = TypeAdapter(model)
    documents: list[Document[Any]] = []
    ids: list[str] = []
    depth = len(parent) + 1 if parent else 0
    lines: dict[Location, dict[Location, int]] = {}
    for where, line in tree.lines.items():
        lines.setdefault(where[:depth], {})[where[depth:]] = line
    for index, item in enumerate(items):
        location = (*parent, index) if parent else ()
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            ids.append(item["id"])
        try:
            # Through JSON, because strict JSON takes lists for tuples and text for dates but converts nothing else.
            value = adapter.validate_json(json.dumps(item), strict=True)
        except ValidationError as error:
            tree.problems.extend(_problems(tree, location, error, model))
        else:
            documents.append(Document(value, Origin(tree.file, lines.get(location, {}))))
    return Reading(tuple(documents), tuple(tree.problems), tuple(ids))


def _problems(tree: Tree, location: Location, error: ValidationError, model: Any) -> list[Problem]:
    problems = []
    for detail in error.errors(include_url=False):
        inner = tuple(step for step in detail["loc"] if step != "[key]")
        allowed = allowed_fields(model, inner[:-1])
        if _is_tagged(model):
            inner = inner[1:]  # the tag, which may be called as a field is
        real = (
            *location,
            *_without_members(tree, location, inner, missing=detail["type"] in {"missing", "union_tag_not_found"}),
        )
        problems.append(Problem(tree.file, tree.line(real), field_name(real), wording(detail, allowed)))
    return problems


def _is_tagged(model: Any) -> bool:
    """Whether `model` is a union whose members are told apart by a field; pydantic's locations begin with its value."""
    return any(getattr(each, "discriminator", None) is not None for each in getattr(model, "__metadata__", ()))


def _without_members(tree: Tree, location: Location, inner: Location, *, missing: bool) -> Location:
    """Pydantic's location without the steps (names of union members) that are not in the file."""
    real: Location = ()
    for number, step in enumerate(inner):
        last_of_missing = missing and number == len(inner) - 1
        if last_of_missing or (*location, *real, step) in tree.lines:
            real = (*real, step)
    return real
