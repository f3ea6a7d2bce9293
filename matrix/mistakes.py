"""Mistakes that people make in YAML, each named by file, line and field, with what is allowed."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake: where (line 0: the whole file), in which field, and what is wrong and allowed."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        where = f"{printable(self.file)}:{self.line}" if self.line else printable(self.file)
        return ": ".join(part for part in (where, printable(self.field), printable(self.message)) if part)


class Mistakes(Exception):
    """All mistakes found; its text has one line each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def printable(text: str) -> str:
    """`text` as one line that a terminal shows as it is."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shown(value: object) -> str:
    """A value as it may be quoted in a message: short, on one line."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = (
        {None: "nothing", True: "true", False: "false"}.get(value) if value is None or isinstance(value, bool) else None
    )
    text = text or (f"'{value}'" if isinstance(value, str) else str(value))
    return text if len(text) <= 60 else f"{text[:56]}...'"


def field_name(location: Sequence[str | int]) -> str:
    """`("hypervisors", 2, "offers", 0)` as `hypervisors[2].offers[0]`."""
    name = ""
    for step in location:
        if isinstance(step, int):
            name += f"[{step}]"
        else:
            name += f".{step[:80]}" if name else step[:80]
    return name


def allowed_fields(annotation: object, location: Sequence[str | int]) -> tuple[str, ...]:
    """Names of the fields of the model found at `location` inside `annotation`; empty if there is none."""
    found = _models_at(annotation, tuple(location))
    return tuple(dict.fromkeys(name for model in found for name in model.model_fields))


def wording(error: ErrorDetails, allowed: Sequence[str]) -> str:
    """What is wrong and what is allowed, from one pydantic error; `allowed` are the fields of its model."""
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    message = error["msg"][:1].lower() + error["msg"][1:]
    if kind == "extra_forbidden":
        message = unknown("key", str(error["loc"][-1]), allowed)
    elif kind == "missing":
        message = "is missing"
    elif kind == "union_tag_not_found":
        message = f"is missing: {context.get('discriminator')}"
    elif kind == "value_error":
        message = str(context.get("error", message))
        message += f"; not {shown(value)}" if message.startswith("must be") else ""
    elif kind in {"literal_error", "enum", "union_tag_invalid"}:
        expected = context.get("expected") or context.get("expected_tags")
        message = f"must be {expected}, not {shown(context.get('tag', value))}"
    elif kind in _LIMITS:
        message = f"must be {_LIMITS[kind].format(**context)}, not {shown(value)}"
    elif kind in _NEEDS:
        message = f"must be {_NEEDS[kind]}, not {shown(value)}"
        message += "; put it in quotes" if kind == "string_type" and isinstance(value, int | float) else ""
    return message


def unknown(what: str, word: str, allowed: Iterable[str]) -> str:
    """`unknown key 'vcpu', did you mean 'vcpus'? (allowed: ...)`."""
    known = list(allowed)
    near = difflib.get_close_matches(word, known, n=1)
    guess = f", did you mean '{near[0]}'?" if near else ""
    listing = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"unknown {what} {shown(word)}{guess} (allowed: {listing or 'none'})"


_LIMITS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}
_NEEDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dataclass_type": "a mapping of keys to values",
}


def _models_at(annotation: object, location: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """Models that `annotation` can be at `location`, through lists, optional types and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not location:
            return [annotation]
        field = annotation.model_fields.get(str(location[0]))
        return _models_at(field.annotation if field else None, location[1:])
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _models_at(arguments[0], location)
    found: list[type[BaseModel]] = []
    if origin in {typing.Union, types.UnionType}:
        found = [model for argument in arguments for model in _models_at(argument, location)]
        if location and not found:
            # A discriminated union puts its tag into the location.
            tagged = [argument for argument in arguments if _has_tag(argument, location[0])]
            found = [model for argument in tagged for model in _models_at(argument, location[1:])]
    elif origin in {tuple, list, dict, set, frozenset} and location:
        found = [model for argument in arguments for model in _models_at(argument, location[1:])]
    return found


def _has_tag(annotation: object, tag: str | int) -> bool:
    """Whether `annotation` is a model with a field that is the literal `tag`."""
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return False
    return any(tag in typing.get_args(field.annotation) for field in annotation.model_fields.values())
