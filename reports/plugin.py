"""The pytest plugin of this room. Without a plan in the stash (plain `pytest tests`) it does nothing."""

from __future__ import annotations

import pytest

from fixtures.hookspecs import PLAN


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this room."""
    group = parser.getgroup("guestcert")
    group.addoption("--no-html", action="store_true", help="Do not make the Allure report at the end of the run")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Register what this process needs; the plan is there since pytest_configure.

    Imports wait until here: `pytest tests` and `--collect-only` need none of them, a worker not those of the controller.
    """
    config = session.config
    plan = config.stash.get(PLAN, None)
    if plan is None or config.option.collectonly:
        return
    worker = getattr(config, "workerinput", None)
    if worker is None:
        from reports.reporting import Reporting  # noqa: PLC0415

        reporting = Reporting(config, plan)
        config.pluginmanager.register(reporting, "guestcert_reporting")
        config.pluginmanager.register(reporting.journal, "guestcert_journal")
    if worker is not None or not config.pluginmanager.hasplugin("dsession"):
        from reports.allure_mirror import AllureMirror  # noqa: PLC0415
        from reports.recording import Recorder  # noqa: PLC0415

        mirror = AllureMirror(plan, str(worker["workerid"]) if worker is not None else "controller")
        mirror.register(config)
        config.pluginmanager.register(Recorder(plan, mirror), "guestcert_recorder")
