"""Which probes run on which cells: real pytest runs with a plan that is handed in, so that nothing is booted."""

from __future__ import annotations

import pytest

from matrix.model import Login
from tests.unit.run.conftest import CELLS, Run

pytest_plugins = ["pytester"]

PROBES = """
    import pytest

    def test_read(cell): pass

    @pytest.mark.requires("vcpus>=64")
    def test_many_cpus(cell): raise AssertionError("must not run")

    @pytest.mark.requires("agent", "balloon")
    def test_balloon(cell): raise AssertionError("must not run")

    @pytest.mark.requires("agent", "linux")
    def test_agent(cell): pass

    def test_outside_the_profile(cell): pass
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_probes_of_the_profile_run_in_every_cell_with_a_host(run: Run, workers: str) -> None:
    seen = run({"area/test_some.py": PROBES}, workers, probes=["area/read", "area/agent"])
    assert seen.verdicts() == {
        (guest, probe): "pass" for guest in ("debian-12", "debian-13") for probe in ("area/read", "area/agent")
    }, seen.output
    assert seen.status == 0, seen.output


def test_a_cell_without_a_host_is_not_run_and_says_why(run: Run) -> None:
    seen = run({"area/test_some.py": PROBES}, probes=["area/read"], unbound=CELLS[0])
    assert seen.verdicts() == {("debian-13", "area/read"): "pass"}
    assert "no host offers luck" in seen.output


def test_an_unmet_requirement_skips_with_the_one_clause(run: Run) -> None:
    seen = run({"area/test_some.py": PROBES}, "-n0", probes=["area/many_cpus", "area/balloon"])
    assert set(seen.verdicts().values()) == {"skip"}
    assert "vcpus>=64" in seen.reason("area/many_cpus")
    assert seen.reason("area/balloon").endswith("no balloon")
    assert seen.status != 0, "a skip is not a pass"


def test_keyword_selects_by_cell_id_and_probe(run: Run) -> None:
    seen = run({"area/test_some.py": PROBES}, "-k", "debian-13 and read", probes=["area/read", "area/agent"])
    assert seen.verdicts() == {("debian-13", "area/read"): "pass"}


def test_a_probe_named_by_node_id_runs_whatever_the_profile(run: Run) -> None:
    seen = run(
        {"area/test_some.py": PROBES},
        "-n0",
        probes=["area/read"],
        paths=("probes/area/test_some.py::test_outside_the_profile",),
    )
    assert set(seen.verdicts()) == {
        ("debian-12", "area/outside_the_profile"),
        ("debian-13", "area/outside_the_profile"),
    }


def test_the_boot_comes_first_then_readers_then_those_that_break_things(run: Run) -> None:
    fixtures = """
    import pytest

    @pytest.fixture
    def cold_guest(cell): return None
    @pytest.fixture
    def fresh_guest(cell): return None
    @pytest.fixture
    def guest(cell): return None

    def test_a_cold(cold_guest): pass
    def test_b_fresh(fresh_guest): pass
    def test_c_reads(guest): pass
    @pytest.mark.hands_over
    def test_d_boots(cold_guest): pass
    """
    probes = ["a/a_cold", "a/b_fresh", "a/c_reads", "a/d_boots"]
    seen = run({"a/test_a.py": fixtures}, "-n0", probes=probes, unbound=CELLS[1])
    assert seen.order() == ["a/d_boots", "a/c_reads", "a/b_fresh", "a/a_cold"], seen.output


def test_what_needs_a_shell_is_skipped_where_nobody_can_log_in(run: Run) -> None:
    probes = """
    import pytest

    @pytest.fixture
    def guest(cell): return None

    def test_reads(guest): raise AssertionError("must not run")
    @pytest.mark.without_shell
    def test_watches(guest): pass
    def test_thinks(cell): pass
    """
    names = ["area/reads", "area/watches", "area/thinks"]
    seen = run({"area/test_some.py": probes}, "-n0", probes=names, unbound=CELLS[1], login=Login(channel="none"))
    verdicts = {probe: verdict for (guest, probe), verdict in seen.verdicts().items() if guest == "debian-12"}
    assert verdicts == {"area/reads": "skip", "area/watches": "pass", "area/thinks": "pass"}, seen.output
    assert seen.reason("area/reads") == "setup: no shell"


def test_what_needs_a_second_host_is_skipped_where_there_is_none(run: Run) -> None:
    probes = """
    import pytest

    @pytest.fixture
    def second_host(cell): raise AssertionError("must not be asked for")

    @pytest.mark.requires("migration")
    def test_migrates(cell, second_host): raise AssertionError("must not run")
    @pytest.mark.requires("save")
    def test_meets(cell, second_host): raise AssertionError("must not run")
    def test_stays(cell): pass
    """
    names = ["area/migrates", "area/meets", "area/stays"]
    seen = run({"area/test_some.py": probes}, "-n0", probes=names, unbound=CELLS[1])
    assert {probe: verdict for (_, probe), verdict in seen.verdicts().items()} == {
        "area/migrates": "skip",
        "area/meets": "skip",
        "area/stays": "pass",
    }, seen.output
    assert seen.reason("area/migrates") == "setup: no migration"
    assert seen.reason("area/meets") == "setup: no second host offers qemu-tcg"


def test_a_probe_that_asks_for_no_guest_is_a_mistake_that_is_named(run: Run) -> None:
    seen = run({"area/test_some.py": "def test_read(): pass\n"}, "-n0", probes=["area/read"])
    assert "asks for no guest" in seen.output
    assert seen.status != 0


def test_a_crash_is_an_error_and_the_rest_of_the_cell_goes_on(run: Run) -> None:
    probes = """
    import os, signal
    def test_one(cell): pass
    def test_two(cell): os.kill(os.getpid(), signal.SIGKILL)
    def test_three(cell): pass
    """
    seen = run({"area/test_some.py": probes}, "-n2", probes=["area/one", "area/two", "area/three"])
    for guest in ("debian-12", "debian-13"):
        assert seen.verdicts()[guest, "area/one"] == "pass"
        assert seen.verdicts()[guest, "area/two"] == "error"
        assert seen.verdicts()[guest, "area/three"] == "pass"
    assert seen.status == 3, seen.output


def test_collecting_makes_no_run_folder(run: Run, pytester: pytest.Pytester) -> None:
    seen = run({"area/test_some.py": PROBES}, "--collect-only", "-q", probes=["area/read"])
    assert "test_read[debian-12+qemu-tcg+none]" in seen.output
    assert not (pytester.path / "out").exists()


def test_tests_outside_the_suites_are_left_alone(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "test_other.py").write_text("def test_plain(): pass\n")
    seen = run({"area/test_some.py": PROBES}, "-n0", probes=["area/read"], paths=("test_other.py", "probes"))
    assert seen.verdicts() == {
        ("no cell", "test_other/plain"): "pass",
        ("debian-12", "area/read"): "pass",
        ("debian-13", "area/read"): "pass",
    }


def test_without_n_there_is_a_worker_for_each_cell(run: Run) -> None:
    seen = run({"area/test_some.py": PROBES}, probes=["area/read"])
    workers = {event["worker"] for event in seen.events if event["event"] == "probe_finished"}
    assert workers == {"gw0", "gw1"}, seen.output
    assert "2 workers: 2 cells to test, host has 2 CPUs" in seen.output


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_a_worker_can_tell_people_something_while_its_probe_runs(run: Run, workers: str) -> None:
    seen = run(
        {
            "area/test_some.py": """
    from fixtures.notice import tell

    def test_read(cell, request):
        tell(request.config, "waiting for host far")
    """
        },
        workers,
        probes=["area/read"],
    )
    kinds = [event["event"] for event in seen.events]
    assert kinds.index("probe_started") < kinds.index("noticed") < kinds.index("probe_finished")
    assert "waiting for host far" in seen.output


def test_without_xdist_a_run_has_one_process(run: Run) -> None:
    seen = run({"area/test_some.py": PROBES}, "-p", "no:xdist", probes=["area/read"])
    assert seen.status == 0, seen.output
    assert {event["worker"] for event in seen.events if event["event"] == "probe_finished"} == {"controller"}
