"""In the process that runs probes: turns hooks into what each phase's report carries home, and mirrors it to Allure."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping
from pathlib import Path

import pytest

from fixtures.faults import GuestFault, HostFault
from fixtures.observation import Attachment, Metric, Step
from matrix.plan import Plan
from reports.allure_mirror import AllureMirror
from reports.hostile_text import clean, one_line
from reports.identity import NodeNames
from reports.observed import Observed, attachment_record, fact_records, metric_record, step_record
from reports.verdict import Verdict, of_exception

_LONGEST_REPORT = 60_000


class Recorder:
    """A pytest plugin for workers (and for a run without xdist)."""

    def __init__(self, plan: Plan, mirror: AllureMirror) -> None:
        self._out: Path = plan.out
        self._names = NodeNames(binding.cell.id for binding in plan.bindings)
        self._mirror = mirror
        self._pending = Observed(verdict=Verdict.PASS)
        self._depth = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._pending = Observed(verdict=Verdict.PASS)
        self._depth = 0
        self._mirror.begin(self._names.key(item.nodeid), _description(item))
        try:
            return (yield)
        finally:
            self._mirror.end()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        observed, self._pending = self._pending, Observed(verdict=Verdict.PASS)
        observed.verdict, reason = classify(call, report)
        observed.reason = one_line(reason) if reason else None
        if report.when == "setup":
            observed.description = clean(_description(item))
        if observed.verdict in {Verdict.FAIL, Verdict.ERROR}:
            observed.detail = clean(report.longreprtext or reason)
            _make_portable(report)
        self._mirror.phase(observed)
        observed.put_into(report)
        return report

    @pytest.hookimpl
    def pytest_guestcert_metric(self, item: pytest.Item, metric: Metric) -> None:
        del item
        self._pending.metrics.append(metric_record(metric))

    @pytest.hookimpl
    def pytest_guestcert_attachment(self, item: pytest.Item, attachment: Attachment) -> None:
        del item
        record = attachment_record(attachment, self._out)
        self._pending.attachments.append(record)
        self._mirror.attach(record, self._out / record.path)

    @pytest.hookimpl
    def pytest_guestcert_step_started(self, item: pytest.Item, title: str) -> None:
        del item
        self._depth += 1
        self._mirror.step_started(one_line(title))

    @pytest.hookimpl
    def pytest_guestcert_step_finished(self, item: pytest.Item, step: Step) -> None:
        del item
        self._depth = max(0, self._depth - 1)
        record = step_record(step, self._depth)
        self._pending.steps.append(record)
        self._mirror.step_finished(record)

    @pytest.hookimpl
    def pytest_guestcert_facts(self, item: pytest.Item, facts: Mapping[str, str | int | float | bool | None]) -> None:
        del item
        self._pending.facts.update(Observed(verdict=Verdict.PASS, facts=fact_records(facts)).facts)


def classify(call: pytest.CallInfo[None], report: pytest.TestReport) -> tuple[Verdict, str | None]:
    """The verdict of a phase and the reason for people.

    A probe marked xfail gets the verdict of what really happened; the mark only explains. A pass stays a pass.
    """
    prefix = "" if report.when == "call" else f"{report.when}: "
    expected = getattr(report, "wasxfail", None)
    if call.excinfo is None:
        if report.failed:  # a strict xfail that passed: pytest calls it failed, the guest did not fail
            return Verdict.PASS, "passed although it is marked as an expected failure"
        return Verdict.PASS, None
    exception = call.excinfo.value
    verdict = of_exception(exception)
    if isinstance(exception, pytest.skip.Exception):
        return verdict, f"{prefix}{exception.msg or 'no reason given'}"
    message = _message(exception)
    if expected is not None:
        reason = expected.removeprefix("reason: ")
        message = f"expected failure ({reason}): {message}" if reason else f"expected failure: {message}"
    return verdict, prefix + message


def _message(exception: BaseException) -> str:
    if isinstance(exception, BaseExceptionGroup):
        return "; ".join(_message(member) for member in exception.exceptions)
    # The first paragraph is the probe's own message; pytest's explanation of the assertion follows it.
    text = clean(exception, 2_000).strip().partition("\n\n")[0]
    own, _, explanation = text.partition("\nassert ")
    name = type(exception).__name__
    if isinstance(exception, AssertionError):
        return own or explanation or name
    if isinstance(exception, GuestFault | HostFault) and text:
        return text  # written for people already
    return f"{name}: {text}" if text else name


def _description(item: pytest.Item) -> str:
    return inspect.cleandoc(getattr(getattr(item, "function", None), "__doc__", None) or "")


def _make_portable(report: pytest.TestReport) -> None:
    # execnet cannot carry lone surrogates and nobody reads megabytes; what a guest printed must not stop the run.
    text = report.longreprtext
    if len(text) > _LONGEST_REPORT or not _is_unicode(text):
        report.longrepr = clean(text, _LONGEST_REPORT)
    report.sections = [(name, clean(content, _LONGEST_REPORT)) for name, content in report.sections]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
