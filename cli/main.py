"""The `guestcert` command: one sub-command a concern, each loaded when it is called."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from fixtures.display import display

_USAGE_ERROR = 2
_HARNESS_ERROR = 3
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Command:
    """A sub-command: the module that has it, and what the overview says. Its module is imported when it is called."""

    module: str
    summary: str


COMMANDS = {
    "run": Command("cli.run", "certify guests: boot them, probe them, report (takes pytest's options too)"),
    "matrix": Command("cli.matrix", "list, explain and check what is to be certified"),
    "images": Command("cli.images", "list, build, fetch, verify and prune guest images"),
    "hosts": Command("cli.hosts", "measure what hosts can do"),
    "lab": Command("cli.lab", "start lab hosts that stay up, look at them, end them"),
    "report": Command("cli.report", "make the reports of a run folder again"),
    "clean": Command("cli.clean", "remove what killed runs left behind"),
    "bench": Command("cli.bench", "measure the harness itself"),
    "test": Command("cli.test", "run the harness's own tests"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ends the process with the exit status of the command."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status: 2 for bad input, 3 for trouble of host or lab, 130 if interrupted.

    One whose reader has read enough, or whose terminal is closed, goes on to its end and to its own status.
    """
    with contextlib.redirect_stdout(display(sys.stdout)), contextlib.redirect_stderr(display(sys.stderr)):
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if name in {"-h", "--help", "help"}:
        sys.stdout.write(overview())
        return 0
    if name in {"version", "--version"}:
        sys.stdout.write(f"guestcert {metadata.version('guestcert')}\n")
        return 0
    if name not in COMMANDS:
        sys.stderr.write(f"guestcert: no command '{name}' (allowed: {', '.join(COMMANDS)}, version)\n")
        return _USAGE_ERROR
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return call(COMMANDS[name], name, rest)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _INTERRUPTED


def call(command: Command, name: str, arguments: list[str]) -> int:
    """The exit status of `command`; what is not a bug of ours becomes one line on stderr."""
    try:
        module = importlib.import_module(command.module)
        if hasattr(module, "main"):
            return int(module.main(arguments))
        module.app(args=arguments, prog_name=f"guestcert {name}")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        status = status_of(error)
        if status is None:
            raise
        sys.stderr.write(f"{message_of(error)}\n")
        return status
    return 0


def overview() -> str:
    """What `guestcert --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: guestcert COMMAND [OPTIONS]",
            "",
            "Settles whether a guest operating system works on a hypervisor on a CPU, with evidence.",
            "",
            *lines,
            f"  {'version':<{width}}  print the version",
            "",
            "`guestcert COMMAND --help` says more.",
            "",
        ]
    )


def status_of(error: Exception) -> int | None:
    """The exit status that `error` means when it is not a bug of ours, else None."""
    from fixtures.faults import GuestFault, HostFault  # noqa: PLC0415 -- only needed when something went wrong
    from images import ImageFault  # noqa: PLC0415
    from matrix.mistakes import Mistakes  # noqa: PLC0415

    if isinstance(error, Mistakes):
        return _USAGE_ERROR
    if isinstance(error, HostFault | GuestFault | ImageFault | OSError):
        return _HARNESS_ERROR
    return None


def message_of(error: Exception) -> str:
    """`error` for people, one line (Mistakes: one line each)."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return str(error) or type(error).__name__


def _interrupt(number: int, frame: object) -> None:
    del frame
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    main()
