"""Every file that is made from events: summary, JUnit XML, completed Allure results, matrix page, HTML report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from reports.allure_html import generate
from reports.allure_install import AllureCli, ReportFault
from reports.allure_results import complete
from reports.hostile_text import one_line
from reports.junit import junit
from reports.matrix_page import matrix_page
from reports.printed import Derived
from reports.reconcile import RunOutcome
from reports.summary import summary

SUMMARY = "summary.json"
JUNIT = "junit.xml"
INDEX = "index.html"

_T = TypeVar("_T")


def derive(outcome: RunOutcome, out: Path, cache: Path, cli: AllureCli | None) -> Derived:
    """Write the derived files of a run; `cli` None leaves the Allure report out.

    Never raises for a file that could not be made: the run's results count more than any report of them. What was
    not made is named in `faults`.
    """
    faults: list[str] = []

    def attempt(what: str, make: Callable[[], _T]) -> _T | None:
        try:
            return make()
        except ReportFault as fault:
            faults.append(f"{what}: {fault}")
        except Exception as error:
            faults.append(f"{what}: {type(error).__name__}: {one_line(error)}")
        return None

    attempt(SUMMARY, lambda: replace(out / SUMMARY, summary(outcome).encode()))
    attempt(JUNIT, lambda: replace(out / JUNIT, junit(outcome)))
    anchors = attempt("Allure results", lambda: complete(outcome, out)) or {}
    index = attempt(INDEX, lambda: replace(out / INDEX, matrix_page(outcome, None).encode()))
    allure = attempt("Allure report", lambda: generate(outcome, out, cli, cache)) if cli is not None else None
    if allure is not None:
        # Once more, now with links to each probe's page in the Allure report.
        index = attempt(INDEX, lambda: replace(out / INDEX, matrix_page(outcome, anchors).encode())) or index
    return Derived(index=index, allure=allure, faults=tuple(faults))


def replace(path: Path, content: bytes) -> Path:
    """Write a file so that a reader sees the old or the new one, whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
    return path
