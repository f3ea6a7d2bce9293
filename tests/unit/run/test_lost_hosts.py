"""Real runs with workers whose hosts are lost: each host is a libvirt daemon with the test driver, which probes kill.

Only the guests are missing: a probe asks the daemon of its host for its domains.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.plugins import PLUGINS
from matrix.expand import expand
from matrix.load import load
from matrix.model import Binding, Capability, MeasuredHost, Profile, Selection
from matrix.plan import Plan
from tests.unit.fixtures.libvirt_daemon import libvirt_daemon

pytest_plugins = ["pytester"]

CELLS = ("debian-12+qemu-tcg+none", "debian-13+qemu-tcg+none")
FIRST, SECOND = CELLS

CONFTEST = """
    import os, signal
    from pathlib import Path
    import pytest
    from fixtures.hookspecs import PLAN
    from fixtures.plugin import _cell_guests
    from matrix.plan import Plan

    pytest_plugins = {plugins!r}
    HERE = Path({here!r})

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(config):
        if not hasattr(config, "workerinput"):
            config.stash[PLAN] = Plan.model_validate_json((HERE / "plan.json").read_text())
        return (yield)

    class Machine:
        def __init__(self, host):
            self.host = host

        def die(self):
            os.kill(int((HERE / f"{{self.host.id}}.pid").read_text()), signal.SIGKILL)

        def use(self):
            self.host.connection.domains()

    @pytest.fixture
    def machine(request, cell):
        host = _cell_guests(request).host
        with (HERE / "uses.txt").open("a") as out:
            print(request.node.name, host.id, file=out)
        machine = Machine(host)
        machine.use()
        return machine

    @pytest.fixture(autouse=True)
    def images(monkeypatch):
        from fixtures.worker_guests import WorkerGuests
        monkeypatch.setattr(WorkerGuests, "_image", lambda self, name: None)
"""

PROBES = """
    def test_one(machine): pass
    def test_two(machine): pass
    def test_three(machine):
        if machine.host.id == {dying!r}:
            machine.die()
            machine.use()
    def test_four(machine): pass
    def test_five(machine): pass
"""
NAMES = ("one", "two", "three", "four", "five")


def plan(out: Path, bindings: dict[str, tuple[str, ...]], uris: dict[str, str]) -> Plan:
    """`bindings`: the hosts of each cell, the one it is bound to first; `uris` those of the hosts."""
    now = datetime.now(UTC)
    cells = {cell.id: cell for cell in expand(load(), Selection(cell=CELLS), today=now.date())}
    size: dict[str, Capability] = {"cpus": 2, "memory_mib": 24064}
    return Plan(
        run_id="r",
        out=out,
        profile=Profile(id="p", required=tuple(f"area/{name}" for name in NAMES)),
        bindings=tuple(
            Binding(cell=cells[cell], host_id=each[0], alternatives=each[1:]) for cell, each in bindings.items()
        ),
        hosts=tuple(MeasuredHost(id=host, uri=uri, capabilities=size) for host, uri in uris.items()),
        started=now,
    )


class Outcome:
    """What a run left."""

    def __init__(self, folder: Path, status: int, output: str) -> None:
        self.status, self.output = status, output
        self.events = [json.loads(line) for line in (folder / "out" / "events.jsonl").read_text().splitlines()]
        self.summary = json.loads((folder / "out" / "summary.json").read_text())
        self.uses = [tuple(line.split()) for line in (folder / "uses.txt").read_text().splitlines()]

    def cell(self, name: str) -> tuple[str, str, str]:
        """Verdict, host and reason."""
        (found,) = [cell for cell in self.summary["cells"] if cell["id"] == name]
        return found["verdict"], found["host"], found["reason"]

    def ran_on(self, cell: str, host: str) -> Counter[str]:
        return Counter(name.partition("[")[0] for name, each in self.uses if each == host and cell in name)


Run = Callable[..., Outcome]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    checkout, here = Path(__file__).parents[3], pytester.path
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(here / "cache"))
    monkeypatch.setenv("GUESTCERT_RUNTIME_DIR", str(here / "runtime"))
    monkeypatch.setenv("GUESTCERT_LEASE_DIR", str(here / "leases"))
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)

    daemons = ExitStack()

    def start(bindings: dict[str, tuple[str, ...]], dying: str, *arguments: str, probes: str = PROBES) -> Outcome:
        uris = {}
        for host in sorted({host for each in bindings.values() for host in each}):
            uris[host], daemon = daemons.enter_context(libvirt_daemon())
            (here / f"{host}.pid").write_text(str(daemon.pid))
        (here / "plan.json").write_text(plan(here / "out", bindings, uris).model_dump_json())
        pytester.makeconftest(CONFTEST.format(plugins=list(PLUGINS), here=str(here)))
        path = here / "probes" / "area" / "test_some.py"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(line.removeprefix("    ") for line in probes.format(dying=dying).splitlines()))
        (here / "pytest.ini").write_text(
            "[pytest]\naddopts = -p no:cacheprovider -p no:pytest11.testinfra --import-mode=importlib --strict-markers\n"
        )
        done = pytester.runpytest_subprocess("--no-html", "--suites", "probes", *arguments, "probes", timeout=120)
        return Outcome(here, int(done.ret), done.stdout.str() + done.stderr.str())

    with daemons:
        yield start


def test_a_cell_that_lost_its_host_is_run_again_as_a_whole_on_the_other_one(run: Run) -> None:
    seen = run({FIRST: ("a", "b")}, "a", "-n1")
    verdict, host, reason = seen.cell(FIRST)
    assert (verdict, host, reason) == ("certified", "b", "all 5 required probes passed"), seen.output
    assert seen.ran_on(FIRST, "b") == Counter({f"test_{name}": 1 for name in NAMES})
    assert seen.ran_on(FIRST, "a") == Counter({"test_one": 1, "test_two": 1, "test_three": 1})
    (moved,) = [event for event in seen.events if event["event"] == "cell_moved"]
    assert (moved["cell"], moved["lost"], moved["host"], moved["again"]) == (FIRST, "a", "b", True)
    assert moved["reason"].startswith("host a was lost: ")
    assert seen.summary["moves"][0]["reason"] == moved["reason"]
    assert f"{FIRST} moves from host a to b: host a was lost" in seen.output


@pytest.mark.parametrize("dying_probe", ["one", "three", "four", "five"])
def test_it_does_not_matter_which_probe_loses_the_host(run: Run, dying_probe: str) -> None:
    body = "\n        if machine.host.id == {dying!r}: machine.die(); machine.use()"
    probes = "\n".join(f"    def test_{name}(machine): {body if name == dying_probe else 'pass'}" for name in NAMES)
    seen = run({FIRST: ("a", "b")}, "a", "-n1", probes=probes)
    assert seen.cell(FIRST) == ("certified", "b", "all 5 required probes passed"), seen.output
    assert seen.ran_on(FIRST, "b") == Counter({f"test_{name}": 1 for name in NAMES})


def test_without_another_host_the_cell_is_inconclusive_and_others_go_on(run: Run) -> None:
    seen = run({FIRST: ("a",), SECOND: ("b",)}, "a", "-n2")
    verdict, host, reason = seen.cell(FIRST)
    assert (verdict, host) == ("inconclusive", "a")
    assert "host a was lost: " in reason
    assert seen.cell(SECOND)[:2] == ("certified", "b")
    assert seen.ran_on(FIRST, "a") == Counter({"test_one": 1, "test_two": 1, "test_three": 1}), "the rest is not tried"
    assert seen.status == 3


def test_a_cell_that_had_not_begun_simply_begins_elsewhere(run: Run) -> None:
    seen = run({FIRST: ("a",), SECOND: ("a", "b")}, "a", "-n1")
    assert seen.cell(FIRST)[0] == "inconclusive"
    assert seen.cell(SECOND)[:2] == ("certified", "b"), seen.output
    assert seen.ran_on(SECOND, "b") == Counter({f"test_{name}": 1 for name in NAMES})
    (moved,) = [event for event in seen.events if event["event"] == "cell_moved"]
    assert (moved["cell"], moved["lost"], moved["host"]) == (SECOND, "a", "b")


def test_without_workers_nothing_can_be_run_again(run: Run) -> None:
    seen = run({FIRST: ("a", "b"), SECOND: ("a", "b")}, "a", "-n0")
    verdict, host, reason = seen.cell(FIRST)
    assert (verdict, host) == ("inconclusive", "a")
    assert "host a was lost: " in reason
    assert seen.ran_on(FIRST, "b") == Counter(), "a cell's evidence is from one host"
    assert "area/four, area/five (setup: host a was lost: its libvirt does not answer" in reason
    assert seen.cell(SECOND)[:2] == ("certified", "b"), seen.output


def test_a_second_host_may_be_lost_too(run: Run) -> None:
    probes = """
    def test_one(machine): pass
    def test_two(machine):
        machine.die()
        machine.use()
    def test_three(machine): pass
    def test_four(machine): pass
    def test_five(machine): pass
    """
    seen = run({FIRST: ("a", "b")}, "", "-n1", probes=probes)
    verdict, host, reason = seen.cell(FIRST)
    assert (verdict, host) == ("inconclusive", "b"), seen.output
    assert "host b was lost: " in reason
