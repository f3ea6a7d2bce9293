"""How a long wait is shown: bars in a terminal, plain lines elsewhere, nothing in tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Task(Protocol):
    """One wait. `advance` takes absolute numbers in the task's own unit; `total` None means unknown."""

    def advance(self, done: int, total: int | None) -> None: ...


class Reporter(Protocol):
    """Where the store says what it does."""

    def say(self, line: str) -> None: ...

    @contextmanager
    def task(self, title: str) -> Iterator[Task]: ...


class _Silent:
    def advance(self, done: int, total: int | None) -> None:
        """Nobody watches."""


class SilentReporter:
    """Says nothing; for tests and callers that report by other means."""

    def say(self, line: str) -> None:
        """Nobody listens."""

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:  # noqa: ARG002
        """A task nobody watches."""
        yield _Silent()


class LineReporter:
    """A plain line per task, for CI logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Print `line` as it is; markup in it is text."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:
        """Print the title once; bars in a log file help nobody."""
        self.say(title)
        yield _Silent()


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, done: int, total: int | None) -> None:
        self._progress.update(self._task, completed=done, total=total)


class BarReporter(LineReporter):
    """A live bar per task, for terminals; it disappears when the task is done."""

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:
        """Show a bar (a spinner while the total is unknown) until the block ends."""
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield _Bar(progress, progress.add_task(title, total=None))


def reporter_for(console: Console) -> Reporter:
    """Bars if `console` is a terminal, lines if not."""
    return BarReporter(console) if console.is_terminal else LineReporter(console)
