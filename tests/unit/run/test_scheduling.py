"""Real xdist runs of tiny probes whose workers crash in every way that a worker can."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from fixtures.scheduling import AHEAD

pytest_plugins = ["pytester"]

CONFTEST = """
    import json, os, signal, sys
    import pytest
    from pathlib import Path
    from fixtures.durations import Durations
    from fixtures.scheduling import CellScheduling

    def cell_of(nodeid):
        return nodeid.rpartition("[")[2].rstrip("]")

    def pytest_xdist_make_scheduler(config, log):
        scheduler = CellScheduling(config, log, cell_of, Durations(Path("seconds.json")))
        config.pluginmanager.register(scheduler)
        return scheduler

    def pytest_runtest_logreport(report):
        if hasattr(report, "node"):  # only in the controller
            with open("reports.jsonl", "a") as out:
                print(json.dumps([report.nodeid, report.when, report.outcome, report.node.gateway.id]), file=out)

    def pytest_generate_tests(metafunc):
        if "cell" in metafunc.fixturenames:
            metafunc.parametrize("cell", CELLS, scope="session")

    def pytest_collection_modifyitems(items):
        items.sort(key=lambda item: CELLS.index(cell_of(item.nodeid)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item):
        report = yield
        report.duration = getattr(item.module, "SECONDS", {}).get(item.name, 0)
        return report

    def pytest_runtest_setup(item):
        with open("starts.txt", "a") as out:
            print(item.nodeid, os.environ.get("PYTEST_XDIST_WORKER"), file=out)
"""


class Run:
    """What a run left: exit status, the controller's reports, and which worker began which probe."""

    def __init__(self, pytester: pytest.Pytester, *args: str) -> None:
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "xdist.plugin", *args, timeout=120)
        self.status = int(result.ret)
        self.output = result.stdout.str() + result.stderr.str()
        reports = Path(pytester.path, "reports.jsonl")
        self.reports = [json.loads(line) for line in reports.read_text().splitlines()] if reports.exists() else []
        starts = Path(pytester.path, "starts.txt")
        self.starts = [line.rsplit(" ", 1) for line in starts.read_text().splitlines()] if starts.exists() else []

    def outcomes(self) -> dict[str, str]:
        """Probe and cell -> passed, failed or crashed."""
        seen: dict[str, str] = {}
        for nodeid, when, outcome, _ in self.reports:
            name = nodeid.partition("::")[2]
            if when == "???":
                seen[name] = "crashed"
            elif when == "call":
                seen[name] = outcome
        return seen

    def times_started(self) -> Counter[str]:
        return Counter(nodeid.partition("::")[2] for nodeid, _ in self.starts)


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)

    def start(cells: list[str], probes: str, *args: str) -> Run:
        lines = CONFTEST.replace("import pytest\n", f"import pytest\n    CELLS = {cells!r}\n", 1)
        pytester.makeconftest(lines)
        pytester.makepyfile(test_probes=probes)
        for left in ("starts.txt", "reports.jsonl"):
            Path(pytester.path, left).unlink(missing_ok=True)
        return Run(pytester, *args)

    return start


def test_a_cell_stays_on_one_worker_and_all_workers_are_used(run) -> None:
    seen = run(
        ["a", "b", "c"],
        """
        import time
        def test_1(cell): time.sleep(0.3)
        def test_2(cell): pass
        def test_3(cell): pass
        def test_4(cell): pass
        def test_5(cell): pass
        """,
        "-n2",
    )
    assert seen.status == 0
    assert set(seen.outcomes().values()) == {"passed"}
    assert len(seen.outcomes()) == 15
    workers: dict[str, set[str]] = {}
    for nodeid, worker in seen.starts:
        workers.setdefault(nodeid.rpartition("[")[2], set()).add(worker)
    assert all(len(each) == 1 for each in workers.values()), workers
    assert {worker for _, worker in seen.starts} == {"gw0", "gw1"}


def test_what_took_longest_the_last_time_is_begun_first_and_what_never_ran_before_that(run) -> None:
    probes = """
        SECONDS = {"test_1[b]": 0.5, "test_1[c]": 0.1, "test_1[d]": 0.3}
        def test_1(cell): pass
        def test_2(cell): pass
        """
    first = run(["b", "c", "d"], probes, "-n1")
    assert order(first) == ["b", "c", "d"]  # nothing known: as given
    assert order(run(["c", "d", "b"], probes, "-n1")) == ["b", "d", "c"]
    assert order(run(["c", "new", "d", "newer", "b"], probes, "-n1")) == ["new", "newer", "b", "d", "c"]


def test_what_failed_does_not_count(run) -> None:
    probes = """
        SECONDS = {{"test_1[a]": 0.1, "test_1[b]": 0.3, "test_2[{failing}]": 1}}
        def test_1(cell): pass
        def test_2(cell): assert cell != "{failing}"
        """
    assert run(["a", "b"], probes.format(failing="a"), "-n1").status == 1
    assert order(run(["a", "b"], probes.format(failing="none"), "-n1")) == ["b", "a"]


def order(seen: Run) -> list[str]:
    """The cells of a run in the order in which they began."""
    assert seen.status == 0, seen.output
    return [nodeid.rpartition("[")[2].rstrip("]") for nodeid, _ in seen.starts if "test_1" in nodeid]


@pytest.mark.parametrize(
    ("death", "victim"), [("os._exit(3)", 1), ("os.kill(os.getpid(), signal.SIGKILL)", 3), ("os._exit(0)", 4)]
)
def test_a_crash_costs_the_probe_that_ran_and_no_other(run, death: str, victim: int) -> None:
    probes = "import os, signal\n" + "\n".join(
        f"def test_{number}(cell):\n    " + (f"if cell == 'b': {death}" if number == victim else "pass")
        for number in range(1, 5)
    )
    seen = run(["a", "b"], probes, "-n2")
    expected = {f"test_{number}[{cell}]": "passed" for number in range(1, 5) for cell in "ab"}
    expected[f"test_{victim}[b]"] = "crashed"
    assert seen.outcomes() == expected, seen.output
    assert set(seen.times_started().values()) == {1}, "a probe ran twice"
    assert seen.status == 1


def test_every_probe_may_crash_its_worker(run) -> None:
    probes = "import os\n" + "\n".join(f"def test_{number}(cell): os._exit(1)" for number in range(5))
    seen = run(["a", "b", "c"], probes, "-n2", "--max-worker-restart=1000000")
    assert set(seen.outcomes().values()) == {"crashed"}
    assert len(seen.outcomes()) == 15
    assert set(seen.times_started().values()) == {1}


def test_two_cells_left_with_one_probe_each_do_not_hang_their_replacement(run) -> None:
    seen = run(
        ["a", "b", "c"],
        """
        import os
        def test_1(cell): os._exit(1)
        def test_2(cell): pass
        """,
        "-n1",
    )
    assert [name for name, outcome in seen.outcomes().items() if outcome == "passed"] == [
        "test_2[a]",
        "test_2[b]",
        "test_2[c]",
    ]


def test_a_crash_after_the_last_probe_blames_nobody(run) -> None:
    seen = run(
        ["a"],
        """
        import os, pytest
        @pytest.fixture(scope="session", autouse=True)
        def falls_at_the_end():
            yield
            if os.environ.get("PYTEST_XDIST_WORKER") == "gw0" and not os.path.exists("fell"):
                open("fell", "w").close()
                os._exit(1)
        def test_1(cell): pass
        def test_2(cell): pass
        """,
        "-n1",
    )
    assert seen.times_started()["test_1[a]"] == 1
    assert seen.outcomes()["test_1[a]"] == "passed"


def test_workers_that_never_start_a_probe_end_the_run(run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(dies_early="import os\nif 'PYTEST_XDIST_WORKER' in os.environ: os._exit(7)\n")
    seen = run(
        ["a"],
        "def test_1(cell): pass",
        "-n2",
        "-p",
        "dies_early",
        "--max-worker-restart=1000000",
    )
    assert seen.status == 3
    assert "died before they started a probe" in seen.output
    assert not seen.starts


def test_maxfail_leaves_other_workers_a_few_probes_only(run) -> None:
    told = """
import time
from pathlib import Path

def test_0(cell):
    assert cell == "a"
    while "failed" not in Path("reports.jsonl").read_text():  # another worker has something to do until then
        time.sleep(0.01)
"""
    probes = told + "\n".join(f"def test_{number}(cell): pass" for number in range(1, 30))
    seen = run(["a", "b"], probes, "-n2", "-x")
    assert seen.outcomes()["test_0[b]"] == "failed"
    assert len(seen.outcomes()) <= 2 + 2 * AHEAD


def test_more_workers_than_cells(run) -> None:
    seen = run(["a"], "def test_1(cell): pass", "-n3")
    assert seen.status == 0
    assert seen.outcomes() == {"test_1[a]": "passed"}
