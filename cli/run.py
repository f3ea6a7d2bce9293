"""`guestcert run`: pytest over the suites, from any folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.plugins import PLUGINS
from fixtures.options import CHECKOUT, SHIPPED_SUITES, pytest_addoption

_EPILOG = """\
Everything else is pytest's: paths and node ids, -k EXPRESSION (over cell ids, areas and probe names), -x, -n WORKERS,
--collect-only and so on; `pytest --help` in the checkout lists them. Without -n there is one worker a cell, as far as
CPUs and memory of the hosts allow.

exit status: 0 every tested cell is certified, 1 a cell failed, 2 bad input, 3 a cell is inconclusive,
5 nothing could be tested, 130 interrupted
"""

# Options of pytest and xdist that take their value as the next word; only needed to tell values from paths.
_PYTEST_VALUES = [
    "-c",
    "-k",
    "-m",
    "-n",
    "-o",
    "-p",
    "-r",
    "-W",
    "--basetemp",
    "--color",
    "--confcutdir",
    "--deselect",
    "--dist",
    "--durations",
    "--durations-min",
    "--ignore",
    "--ignore-glob",
    "--import-mode",
    "--junitxml",
    "--log-file",
    "--log-level",
    "--max-worker-restart",
    "--maxfail",
    "--maxprocesses",
    "--numprocesses",
    "--override-ini",
    "--rootdir",
    "--tb",
    "--tx",
    "--verbosity",
]
# This command has imported some of the plugins by the time pytest would rewrite their assertions; they have none.
_QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
_PYTEST_USAGE_ERROR = 4
_BAD_INPUT = 2


def main(arguments: list[str]) -> int:
    """Run pytest in this process; returns the exit status of the run."""
    if {"-h", "--help"}.intersection(arguments):
        _parser().print_help()
        return 0
    import pytest  # noqa: PLC0415 -- `--help` need not wait for it

    status = int(pytest.main(pytest_arguments(arguments)))
    return _BAD_INPUT if status == _PYTEST_USAGE_ERROR else status


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """What pytest is called with. Its configuration is the checkout's, wherever the user is; without a path among the
    arguments all suites are meant."""
    parser = _parser()
    for name in _PYTEST_VALUES:
        parser.add_argument(name, action="append")
    try:
        known, rest = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        known, rest = argparse.Namespace(suites=[]), []  # pytest will say what is wrong
    paths = [word for word in rest if not word.startswith("-") and Path(word.partition("::")[0]).exists()]
    # They come first, so that an option whose value is missing does not swallow them.
    suites = [] if paths else [str(SHIPPED_SUITES), *known.suites]
    plugins = [word for name in PLUGINS for word in ("-p", name)]
    return ["-c", str(CHECKOUT / "pyproject.toml"), f"--rootdir={CHECKOUT}", *_QUIET, *plugins, *suites, *arguments]


class _Group:
    """Takes what our pytest plugin adds to pytest's parser, for an argparse parser."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser

    def getgroup(self, *_: str) -> _Group:
        """pytest groups its options; here all are ours."""
        return self

    def addoption(self, *names: str, **settings: Any) -> None:
        """An option, as pytest and argparse both take it."""
        self.parser.add_argument(*names, **settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="guestcert run",
        usage="guestcert run [OPTIONS] [PYTEST OPTIONS] [PATHS]",
        description="Certify guests: boot them, probe them, report.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        exit_on_error=False,
        add_help=False,
    )
    group: Any = _Group(parser)
    pytest_addoption(group)
    return parser
