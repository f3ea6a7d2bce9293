"""What workers had told by the time the controller stopped listening.

xdist's loop takes their reports from a queue, one at a time. Ctrl-C, or a bug of a plugin, ends that loop: what a busy
controller had not come to yet was lost, and with it verdicts that guests had already earned.
"""

from __future__ import annotations

from queue import Empty, Queue
from typing import Any

from reports.controller import Journal


def note_late_reports(queue: Queue[tuple[str, dict[str, Any]]], journal: Journal) -> None:
    """Empty xdist's `queue` of (event, arguments) into `journal`, once the workers are down and no more can come.

    Beginnings, results and notices are noted; whatever else is told asks for a loop that goes on.
    """
    while True:
        try:
            event, told = queue.get_nowait()
        except Empty:
            return
        if event == "logstart":
            journal.pytest_runtest_logstart(nodeid=told["nodeid"])
        elif event == "testreport":
            told["rep"].node = told["node"]  # as xdist does before it hands a report on
            journal.pytest_runtest_logreport(report=told["rep"])
        elif event == "warning_recorded":
            journal.pytest_warning_recorded(warning_message=told["warning_message"])
