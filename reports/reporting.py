"""The controller's side of a run: terminal, journal, and everything derived at the end."""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest
from _pytest.config import create_terminal_writer
from rich.console import Console

from fixtures.display import display
from matrix.places import cache_dir
from matrix.plan import Plan
from reports.allure_install import AllureCli
from reports.controller import Journal
from reports.derive import derive
from reports.late_reports import note_late_reports
from reports.live import Progress
from reports.printed import Derived, print_outcome

PYTEST_LOG = "pytest.log"


class Reporting:
    """The controller's side: terminal, journal, and everything derived at the end."""

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        self._config = config
        self._plan = plan
        self._interrupted = False
        plan.out.mkdir(parents=True, exist_ok=True)
        # The real standard output: pytest redirects it while a probe runs in this process.
        shown = display(sys.__stdout__ or sys.stdout, apart=True)
        self._console = Console(file=shown, markup=False, emoji=False, highlight=False)
        self._progress = Progress(self._console)
        try:
            self.journal = Journal(plan, self._progress, tuple(sys.argv[1:]))
        except FileExistsError:
            raise pytest.UsageError(f"{plan.out}: holds a run already; choose another --out") from None
        self._cli = None if config.option.no_html else AllureCli(cache_dir())
        if self._cli is not None:
            self._cli.prepare()
        self._quieten()
        # A run that ends before its session has properly begun must give the cursor back too.
        config.add_cleanup(self._progress.stop)
        self._progress.start()

    def _quieten(self) -> None:
        """Send pytest's own words to a file in the run folder: nothing is lost, and the terminal stays readable."""
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is None or self._config.option.usepdb:
            return
        log = (self._plan.out / PYTEST_LOG).open("w", encoding="utf-8", errors="replace")
        self._config.add_cleanup(log.close)
        reporter._tw = create_terminal_writer(self._config, log)  # noqa: SLF001 -- pytest offers no other way

    @pytest.hookimpl
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # pytest's own and xdist's early ends (`-x`, `pytest.exit`) are other types; the verdicts speak for those.
        self._interrupted = excinfo.type is KeyboardInterrupt

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        # Outermost, so that workers are down, fixtures torn down and every other plugin is done.
        try:
            return (yield)
        finally:
            self._conclude(session)

    def _conclude(self, session: pytest.Session) -> None:
        self._progress.stop()
        xdist = self._config.pluginmanager.getplugin("dsession")
        if xdist is not None:
            note_late_reports(xdist.queue, self.journal)
        outcome = self.journal.conclude(interrupted=self._interrupted)
        session.exitstatus = outcome.exit.code
        if self._interrupted and self._cli is not None:
            self._cli.cancel()
        # Whoever pressed Ctrl-C does not want to wait for the large report; `guestcert report` makes it later.
        cli = None if self._interrupted else self._cli
        derived = Derived(None, None, ("interrupted while reports were made",))
        try:
            derived = derive(outcome, self._plan.out, cache_dir(), cli)
        except KeyboardInterrupt:
            if self._cli is not None:
                self._cli.cancel()
        print_outcome(self._console, outcome, self._plan.out, derived, whole_details=self._config.option.verbose > 0)
        self._console.file.flush()
