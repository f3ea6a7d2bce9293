"""Verdicts: of one phase from its exception, of a probe from its phases, of a cell from its probes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import pytest

from fixtures.faults import GuestFault


class Verdict(StrEnum):
    """Of a probe. `fail`: guest or hypervisor is at fault; `error`: harness or lab is; `skip`: not applicable."""

    PASS = "pass"  # noqa: S105 -- a verdict
    FAIL = "fail"
    ERROR = "error"
    SKIP = "skip"


class CellVerdict(StrEnum):
    """Of a cell. Nothing but a pass of every required probe makes `certified`."""

    CERTIFIED = "certified"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    UNTESTED = "untested"


class ExitCode(StrEnum):
    """What the exit status of a run means; the number is `code`."""

    CERTIFIED = "every tested cell is certified"
    FAILED = "a cell failed"
    BAD_INPUT = "bad input: nothing was decided"
    INCONCLUSIVE = "a cell is inconclusive"
    UNTESTED = "nothing could be tested"
    INTERRUPTED = "interrupted"

    @property
    def code(self) -> int:
        return _CODES[self]


_CODES = {
    ExitCode.CERTIFIED: 0,
    ExitCode.FAILED: 1,
    ExitCode.BAD_INPUT: 2,
    ExitCode.INCONCLUSIVE: 3,
    ExitCode.UNTESTED: 5,
    ExitCode.INTERRUPTED: 130,
}

# A failure is evidence against the guest whatever else broke; an error hides whether it would have passed.
_RANK = {Verdict.PASS: 0, Verdict.SKIP: 1, Verdict.ERROR: 2, Verdict.FAIL: 3}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The one verdict of several phases or variants: fail before error before skip before pass.

    Raises ValueError if there is none.
    """
    return max(verdicts, key=_RANK.__getitem__)


def of_exception(exception: BaseException) -> Verdict:
    """The verdict that `exception` means; of a group the worst of its members."""
    if isinstance(exception, BaseExceptionGroup):
        return worst(of_exception(member) for member in exception.exceptions)
    if isinstance(exception, pytest.skip.Exception):
        return Verdict.SKIP
    if isinstance(exception, AssertionError | GuestFault | pytest.fail.Exception):
        return Verdict.FAIL
    return Verdict.ERROR
