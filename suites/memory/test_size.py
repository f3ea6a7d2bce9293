"""Does the guest have the memory it was given?"""

from __future__ import annotations

from fixtures.guest import Guest
from suites.fixture_types import Attach
from suites.memory.size import judge_size, memory_bounds
from suites.reading.questions import ask, questions_for


def test_size_seen(guest: Guest, attach: Attach) -> None:
    """The guest sees the memory that it was defined with.

    Preconditions: none.
    Steps: ask how much memory the system has.
    Expected: not more than defined, and less only by the share that kernel and firmware may take (`bounds.yaml`).
    """
    total, text = ask(guest, "its memory", questions_for(guest).memory_kib)
    attach("meminfo.txt", text)
    problem = judge_size(total, guest.definition.memory_mib, memory_bounds().missing_share)
    assert problem is None, f"{problem}; see meminfo.txt"
