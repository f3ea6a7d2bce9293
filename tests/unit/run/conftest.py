"""Real pytest runs of small suites with a plan that is handed in, so that nothing is booted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.plugins import PLUGINS
from matrix.expand import expand
from matrix.load import load
from matrix.model import Binding, Login, MeasuredHost, Profile, Selection
from matrix.plan import Plan

CELLS = ("debian-12+qemu-tcg+none", "debian-13+qemu-tcg+none")
HOST = MeasuredHost(
    id="local", uri="test:///default", capabilities={"cpus": 2, "memory_mib": 24064, "feature.balloon": False}
)


def plan(out: Path, probes: list[str], *, unbound: str | None = None, login: Login | None = None) -> Plan:
    now = datetime.now(UTC)
    cells = expand(load(), Selection(cell=CELLS), today=now.date())
    if login is not None:
        cells = [replace(cell, guest=cell.guest.model_copy(update={"login": login})) for cell in cells]
    return Plan(
        run_id="r",
        out=out,
        profile=Profile(id="p", required=tuple(probes)),
        bindings=tuple(
            Binding(cell=cell, host_id=None, reason="no host offers luck")
            if cell.id == unbound
            else Binding(cell=cell, host_id="local")
            for cell in cells
        ),
        hosts=(HOST,),
        started=now,
    )


class Outcome:
    """Events of a run, and what it printed."""

    def __init__(self, status: int, output: str, out: Path) -> None:
        self.status, self.output = status, output
        log = out / "events.jsonl"
        self.events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def verdicts(self) -> dict[tuple[str, str], str]:
        return {
            ((event["cell"] or "no cell").partition("+")[0], event["probe"]): event["verdict"]
            for event in self.events
            if event.get("verdict") and event.get("probe") and event.get("node")
        }

    def order(self) -> list[str]:
        return [event["probe"] for event in self.events if event.get("probe") and event.get("verdict")]

    def reason(self, probe: str) -> str:
        return next(event["reason"] for event in self.events if event.get("probe") == probe and event.get("reason"))


Run = Callable[..., Outcome]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    checkout = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(pytester.path / "cache"))
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    out = pytester.path / "out"

    def start(
        suites: dict[str, str],
        *args: str,
        probes: list[str],
        unbound: str | None = None,
        login: Login | None = None,
        paths: tuple[str, ...] = ("probes",),
        end: Callable[[list[str]], int] | None = None,
    ) -> Outcome:
        """`end` runs a command that it is given to its end, and returns its exit status, in place of pytester."""
        handed = plan(out, probes, unbound=unbound, login=login).model_dump_json()
        (pytester.path / "plan.json").write_text(handed)
        pytester.makeconftest(
            f"""
            import pytest
            from fixtures.hookspecs import PLAN
            from matrix.plan import Plan

            pytest_plugins = {list(PLUGINS)!r}

            @pytest.hookimpl(wrapper=True, tryfirst=True)
            def pytest_cmdline_main(config):
                with open({str(pytester.path / "plan.json")!r}) as plan:
                    config.stash[PLAN] = Plan.model_validate_json(plan.read())
                return (yield)
            """
        )
        for name, source in suites.items():
            path = pytester.path / "probes" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(line.removeprefix("    ") for line in source.splitlines()))
        (pytester.path / "pytest.ini").write_text(
            "[pytest]\naddopts = -p no:cacheprovider -p no:pytest11.testinfra --import-mode=importlib --strict-markers\n"
        )
        if end is not None:
            command = [sys.executable, "-m", "pytest", "--no-html", "--suites", "probes", *args, *paths]
            return Outcome(end(command), "", out)
        result = pytester.runpytest_subprocess("--no-html", "--suites", "probes", *args, *paths, timeout=120)
        return Outcome(int(result.ret), result.stdout.str() + result.stderr.str(), out)

    return start
