"""By which clock does the guest keep time?"""

from __future__ import annotations

import pytest

from fixtures.guest import Guest
from suites.reading.batch import read_files

_FOLDER = "/sys/devices/system/clocksource/clocksource0"


@pytest.mark.requires("linux")
def test_clocksource(guest: Guest) -> None:
    """The guest keeps time by a source that its hypervisor offers for that.

    Preconditions: the matrix knows the hypervisor's good clock sources.
    Steps: read the kernel's current and available clock sources.
    Expected: the current one is among the good ones.
    """
    good = guest.cell.hypervisor.clocksources
    if not good:
        pytest.skip(f"the matrix names no clock source of {guest.cell.hypervisor.name}")
    files = read_files(guest, f"{_FOLDER}/current_clocksource", f"{_FOLDER}/available_clocksource")
    current = files.get(f"{_FOLDER}/current_clocksource", "").strip()
    available = files.get(f"{_FOLDER}/available_clocksource", "").strip()
    assert current in good, (
        f"expected a clock source out of {', '.join(good)}, the current one is {current or 'not shown'!r} "
        f"(available: {available or 'not shown'}; {_FOLDER})"
    )
