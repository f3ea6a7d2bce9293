"""A strict YAML reader that remembers lines: plain data only, bounded in size, depth and count.

Refused: anchors, aliases and tags (so there are no bombs and no objects), duplicate keys, keys that are not
text, several documents in a file. Of the plain scalars only null, true, false, decimal numbers have a meaning
of their own; everything else, `no`, `on`, `0644`, `12:30` and dates included, is text that the model judges.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from matrix.mistakes import Problem, field_name, shown

MAX_BYTES = 512 * 1024
MAX_DEPTH = 16
MAX_NODES = 50_000

Location = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]{1,3})?")
_PLAIN: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}


class Unreadable(Exception):
    """A file that cannot be read as YAML at all; holds the one problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(slots=True)
class Tree:
    """A file's data as JSON types, the line of every field, and what was wrong that did not stop the reading."""

    file: str
    data: object = None
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, location: Location) -> int:
        """The line of a field, or of the nearest thing around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def read_tree(path: Path) -> Tree:
    """Read one YAML file. Raises Unreadable with a one-line problem."""
    return parse_tree(_read_text(path), str(path))


def parse_tree(text: str, file: str) -> Tree:
    """Parse YAML text; `file` is its name in problems. Raises Unreadable."""
    tree = Tree(file)
    try:
        _Builder(tree).build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        raise Unreadable(Problem(file, mark.line + 1 if mark else 0, "", f"is not YAML: {message}")) from error
    except yaml.YAMLError as error:
        raise Unreadable(Problem(file, 0, "", f"is not YAML: {' '.join(str(error).split())}")) from error
    return tree


def _read_text(path: Path) -> str:
    def unreadable(message: str, line: int = 0) -> Unreadable:
        return Unreadable(Problem(str(path), line, "", message))

    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise unreadable(
                "must be a regular file, is a folder" if stat.S_ISDIR(status.st_mode) else "must be a regular file"
            )
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except ValueError as error:  # a NUL byte in the name
        raise unreadable(f"cannot be read: {error}") from error
    except OSError as error:
        raise unreadable(f"cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise unreadable(f"must be at most {MAX_BYTES // 1024} KiB")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(
            f"must be UTF-8, has byte 0x{raw[error.start]:02x}", raw.count(b"\n", 0, error.start) + 1
        ) from error


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read; `key` is the mapping's key that awaits its value."""

    location: Location
    value: list[object] | dict[str, object]
    key: str | None = None
    skip: bool = False


class _Builder:
    """Builds a Tree from parser events with a stack of its own, so that deep input cannot overflow Python's."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.stack: list[_Frame] = []
        self.nodes = 0
        self.documents = 0

    def build(self, text: str) -> None:
        for event, line in _events(text):
            if isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise self._stop(line, "must hold one document, has a second '---'")
            elif isinstance(event, yaml.AliasEvent):
                raise self._stop(line, f"must not use YAML aliases: *{event.anchor}")
            elif isinstance(event, yaml.NodeEvent):
                self._node(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.stack.pop()

    def _node(self, event: yaml.NodeEvent, line: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._stop(line, f"must have at most {MAX_NODES} values")
        if event.anchor is not None:
            raise self._stop(line, f"must not use YAML anchors: &{event.anchor}")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._stop(line, f"must not use YAML tags: {tag}")
        frame = self.stack[-1] if self.stack else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            self._key(frame, event, line)
            return
        location = self._next_location(frame)
        value = self._value(event, line, location)
        self._put(frame, value, location, line)
        if isinstance(value, list | dict):
            if len(self.stack) >= MAX_DEPTH:
                raise self._stop(line, f"must be nested at most {MAX_DEPTH} deep")
            self.stack.append(_Frame(location, value))

    def _key(self, frame: _Frame, event: yaml.NodeEvent, line: int) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._stop(line, "must have text as keys, not lists or mappings")
        frame.key = self._text(event, line)
        frame.skip = frame.key in frame.value
        if frame.skip:
            location = (*frame.location, frame.key)
            first = self.tree.lines[location]
            self._problem(line, location, f"must be there once, is already on line {first}")
        else:
            # The key's own line: a block scalar's or nested value's line would be one further down.
            self.tree.lines[(*frame.location, frame.key)] = line

    def _next_location(self, frame: _Frame | None) -> Location:
        if frame is None:
            return ()
        return (*frame.location, len(frame.value) if isinstance(frame.value, list) else frame.key or "")

    def _put(self, frame: _Frame | None, value: object, location: Location, line: int) -> None:
        if frame is None:
            self.tree.data = value
            self.tree.lines[location] = line
        elif isinstance(frame.value, list):
            frame.value.append(value)
            self.tree.lines[location] = line
        else:
            if not frame.skip:
                frame.value[frame.key or ""] = value
            frame.key = None

    def _value(self, event: yaml.NodeEvent, line: int, location: Location) -> object:
        if isinstance(event, yaml.SequenceStartEvent):
            return []
        if not isinstance(event, yaml.ScalarEvent):
            return {}
        text = self._text(event, line)
        if event.style is not None:
            return text
        if _INTEGER.fullmatch(text) and len(text.lstrip("+-")) > 18:
            self._problem(line, location, f"must be a number of at most 18 digits, not {shown(text)}")
            return 0
        return _plain(text)

    def _text(self, event: yaml.ScalarEvent, line: int) -> str:
        text = str(event.value)
        try:
            # JSON writes what is beyond U+FFFF as two escaped halves, which PyYAML leaves apart.
            return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError as error:
            raise self._stop(line, f"must be text, has half a character in {shown(text)}") from error

    def _problem(self, line: int, location: Location, message: str) -> None:
        self.tree.problems.append(Problem(self.tree.file, line, field_name(location), message))

    def _stop(self, line: int, message: str) -> Unreadable:
        return Unreadable(Problem(self.tree.file, line, "", message))


def _plain(text: str) -> object:
    if text.lower() in _PLAIN:
        return _PLAIN[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and len(text) <= 40 else text


def _events(text: str) -> Iterator[tuple[yaml.Event, int]]:
    """The parser's events, each with its line (from 1)."""
    # The pure-Python parser: it is iterative, while libyaml's counts on the C stack; our files are small.
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_event():
            event: yaml.Event = loader.get_event()  # type: ignore[no-untyped-call]
            yield event, (event.start_mark.line + 1 if event.start_mark else 0)
    finally:
        loader.dispose()
