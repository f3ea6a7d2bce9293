"""Does the guest have the memory it was given?"""

from __future__ import annotations

from fixtures.guest import Guest
from suites.fixture_types import Attach
from suites.memory.size import judge_size, memory_bounds
from suites.reading.batch import read_files
from suites.reading.procfs import parse_meminfo


def test_size_seen(guest: Guest, attach: Attach) -> None:
    """The guest sees the memory that it was defined with.

    Preconditions: none.
    Steps: read MemTotal.
    Expected: not more than defined, and less only by the share that kernel and firmware may take (`bounds.yaml`).
    """
    text = read_files(guest, "/proc/meminfo").get("/proc/meminfo", "")
    attach("meminfo.txt", text)
    total = parse_meminfo(text).get("MemTotal")
    assert total is not None, "expected MemTotal in /proc/meminfo, there is none; see meminfo.txt"
    problem = judge_size(total, guest.definition.memory_mib, memory_bounds().missing_share)
    assert problem is None, f"{problem}; see meminfo.txt"
