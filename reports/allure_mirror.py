"""Mirrors what a probe does into the Allure result that allure-pytest writes, and gives that result its permanent identity."""

from __future__ import annotations

import uuid
from pathlib import Path

import allure_commons
import pytest
from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import StatusDetails, TestResult
from allure_pytest.listener import AllureListener

from matrix.plan import Plan
from reports.allure_model import (
    LARGEST_ATTACHMENT,
    RESULTS,
    STATUS,
    Subject,
    describe,
    file_suffix,
    metrics_csv,
    shown_as,
)
from reports.events import AttachmentRecord, Fact, StepRecord
from reports.identity import ProbeKey
from reports.observed import Observed
from reports.verdict import worst


class AllureMirror:
    """Feeds allure-pytest in this process; results go to `<out>/allure-results`."""

    def __init__(self, plan: Plan, worker: str) -> None:
        self._plan = plan
        self._worker = worker
        self._bindings = {binding.cell.id: binding for binding in plan.bindings}
        self._required = frozenset(plan.profile.required)
        self._key: ProbeKey | None = None
        self._description = ""
        self._phases: list[Observed] = []
        self._steps: list[str] = []

    def register(self, config: pytest.Config) -> None:
        """Make allure-pytest write to the run folder, whatever its options say, and take this mirror's corrections.

        Done here and not by --alluredir because the run folder is known only after options have been parsed;
        never with --clean-alluredir, which under xdist deletes what other workers wrote.
        """
        if not config.pluginmanager.hasplugin("allure_listener"):
            listener = AllureListener(config)
            config.pluginmanager.register(listener, "allure_listener")
            _register(config, listener)
        file_logger: object = AllureFileLogger(str(self._plan.out / RESULTS), clean=False)  # type: ignore[no-untyped-call]
        _register(config, file_logger)
        _register(config, self)

    def begin(self, key: ProbeKey, description: str) -> None:
        """A probe starts."""
        self._key, self._description = key, description
        self._phases.clear()
        self._steps.clear()

    def phase(self, observed: Observed) -> None:
        """A phase of the probe ended."""
        self._phases.append(observed)
        while self._steps:  # a step that an exception tore down without its hook
            allure_commons.plugin_manager.hook.stop_step(
                uuid=self._steps.pop(), exc_type=None, exc_val=None, exc_tb=None
            )
        if observed.metrics:
            allure_commons.plugin_manager.hook.attach_data(
                body=metrics_csv(observed.metrics), name="metrics", attachment_type="text/csv", extension="csv"
            )

    def end(self) -> None:
        """The probe is over and its result written."""
        self._key = None

    def step_started(self, title: str) -> None:
        self._steps.append(str(uuid.uuid4()))
        allure_commons.plugin_manager.hook.start_step(uuid=self._steps[-1], title=title, params={})

    def step_finished(self, step: StepRecord) -> None:
        if self._steps:
            error = AssertionError(step.error) if step.error is not None else None
            allure_commons.plugin_manager.hook.stop_step(
                uuid=self._steps.pop(), exc_type=type(error) if error else None, exc_val=error, exc_tb=None
            )

    def attach(self, record: AttachmentRecord, path: Path) -> None:
        if record.size <= LARGEST_ATTACHMENT:
            allure_commons.plugin_manager.hook.attach_file(
                source=str(path), name=record.name, attachment_type=shown_as(record.mime), extension=file_suffix(record)
            )

    @allure_commons.hookimpl(tryfirst=True)
    def report_result(self, result: TestResult) -> None:
        """Called by allure_commons just before a result is written."""
        key = self._key
        binding = self._bindings.get(key.cell or "") if key else None
        if key is None or binding is None or not self._phases:
            return
        decisive = worst(phase.verdict for phase in self._phases)
        reasons = [phase.reason for phase in self._phases if phase.verdict is decisive and phase.reason]
        details = [phase.detail for phase in self._phases if phase.verdict is decisive and phase.detail]
        facts: dict[str, Fact] = {}
        for phase in self._phases:
            facts.update(phase.facts)
        metrics = [metric for phase in self._phases for metric in phase.metrics]
        result.status = STATUS[decisive]
        result.statusDetails = (
            StatusDetails(message="; ".join(reasons), trace="\n\n".join(details) or None) if reasons else None
        )
        result.description = describe(self._description, metrics, facts)
        result.descriptionHtml = None
        cell = binding.cell
        Subject(
            key=key,
            guest=cell.guest.id,
            hypervisor=cell.hypervisor.id,
            extension=cell.extension.id,
            required=key.probe in self._required,
            host=binding.host_id,
            worker=self._worker,
            issues=cell.known_issues,
        ).put_into(result)


def _register(config: pytest.Config, plugin: object) -> None:
    manager = allure_commons.plugin_manager
    manager.register(plugin)
    config.add_cleanup(lambda: manager.unregister(plugin))
