"""events.jsonl on disk: one writer, any number of readers, a torn last line tolerated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TextIO

from pydantic import ValidationError

from reports.events import EVENT, KINDS, SCHEMA, Event, RunStarted

NAME = "events.jsonl"


class UnreadableRun(Exception):
    """A run folder whose events cannot be used; one line for people."""


class EventWriter:
    """Appends events; each is flushed, so that a killed controller loses at most the line it was writing.

    Raises FileExistsError if the folder already holds a run: two runs never share a log.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = (folder / NAME).open("x", encoding="utf-8")

    def write(self, event: Event) -> None:
        self._file.write(event.model_dump_json() + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_events(folder: Path) -> tuple[Event, ...]:
    """All events of a run folder. Unknown kinds are passed over (a later writer of the same version may add some).

    Raises UnreadableRun if there is no log, its schema is another, or a line other than a torn last one is damaged.
    """
    return tuple(_parse(folder / NAME))


def _parse(path: Path) -> Iterator[Event]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UnreadableRun(f"{path}: {error.strerror or error}; is this the folder of a run?") from error
    # A whole file ends in a newline, so the last piece is empty; otherwise it is the torn line of a killed controller.
    torn = lines.pop()
    for number, line in enumerate(lines, start=1):
        event = _event(path, number, line)
        if number == 1 and not isinstance(event, RunStarted):
            raise UnreadableRun(f"{path}:1: the first event must be run_started")
        if event is not None:
            yield event
    if not lines:
        raise UnreadableRun(f"{path}: holds no complete event ({len(torn)} bytes)")


def _event(path: Path, number: int, line: bytes) -> Event | None:
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise UnreadableRun(f"{path}:{number}: not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise UnreadableRun(f"{path}:{number}: expected a JSON object")
    if raw.get("event") == "run_started" and raw.get("schema_version") != SCHEMA:
        raise UnreadableRun(
            f"{path}:{number}: events of schema {raw.get('schema_version')!r}; this guestcert reads schema {SCHEMA}"
        )
    if raw.get("event") not in KINDS:
        return None
    try:
        return EVENT.validate_python(raw, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnreadableRun(f"{path}:{number}: {where}: {first['msg']}") from error
