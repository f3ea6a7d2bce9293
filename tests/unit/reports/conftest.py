"""Real pytest runs, in processes of their own, of small suites under a hand-made plan."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from matrix.model import Binding, Cell, ExtensionSpec, GuestSpec, HypervisorSpec, KnownIssue, MeasuredHost, Profile
from matrix.plan import Plan
from reports.event_log import read_events
from reports.events import Event, ProbeFinished
from reports.reconcile import CellOutcome, ProbeOutcome, RunOutcome, reconcile

CHECKOUT = Path(__file__).resolve().parents[3]

CONFTEST = """
from pathlib import Path
import pytest
from fixtures import hookspecs
from fixtures.hookspecs import PLAN
from matrix.plan import Plan

pytest_plugins = ["fixtures.recording", "fixtures.scheduling", "reports.plugin"]

def pytest_addhooks(pluginmanager):
    pluginmanager.add_hookspecs(hookspecs)

@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.stash[PLAN] = Plan.model_validate_json(Path(__file__).with_name("plan.json").read_text())

def pytest_generate_tests(metafunc):
    if "cell" in metafunc.fixturenames:
        bindings = metafunc.config.stash[PLAN].runnable
        metafunc.parametrize("cell", bindings, ids=[each.cell.id for each in bindings])
"""


def cell(guest: str, hypervisor: str = "qemu-tcg", extension: str = "none", *issues: KnownIssue) -> Cell:
    """A cell that needs no matrix."""
    return Cell(
        id=f"{guest}+{hypervisor}+{extension}",
        guest=GuestSpec(id=guest, name=guest.title(), vendor="Example", version="1", image=guest),
        hypervisor=HypervisorSpec(id=hypervisor, name=hypervisor.upper(), driver="qemu", extensions=(extension,)),
        extension=ExtensionSpec(id=extension, name=extension.upper()),
        known_issues=issues,
    )


def plan_of(
    out: Path, required: Sequence[str], optional: Sequence[str] = (), cells: Sequence[Cell] | None = None
) -> Plan:
    """A plan of two bound cells and one that no host can run."""
    bound = cells if cells is not None else (cell("alpha"), cell("beta-2"))
    return Plan(
        run_id="20260102-030405-abcd",
        out=out,
        profile=Profile(id="trial", required=tuple(required), optional=tuple(optional)),
        bindings=(
            *(Binding(cell=each, host_id="local") for each in bound),
            Binding(cell=cell("alpha", "kvm", "svm"), reason="no host offers svm"),
        ),
        hosts=(
            MeasuredHost(
                id="local",
                uri="qemu:///embed",
                capabilities={"accelerator.tcg": True, "cpus": 2, "extension.vmx": None},
            ),
        ),
        started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


@dataclass(frozen=True)
class Ran:
    """A finished run."""

    status: int
    printed: str
    out: Path

    @property
    def events(self) -> tuple[Event, ...]:
        return read_events(self.out)

    @property
    def outcome(self) -> RunOutcome:
        return reconcile(self.events)

    def finished(self, probe: str, cell_id: str = "alpha+qemu-tcg+none") -> ProbeFinished:
        [event] = [
            event
            for event in self.events
            if isinstance(event, ProbeFinished) and event.probe == probe and event.cell == cell_id
        ]
        return event

    def cell(self, cell_id: str = "alpha+qemu-tcg+none") -> CellOutcome:
        [found] = [each for each in self.outcome.cells if each.id == cell_id]
        return found

    def probe(self, probe: str, cell_id: str = "alpha+qemu-tcg+none") -> ProbeOutcome:
        [found] = [each for each in self.cell(cell_id).probes if each.probe == probe]
        return found


Certify = Callable[..., Ran]


@pytest.fixture(scope="session")
def certify(tmp_path_factory: pytest.TempPathFactory) -> Certify:
    """`certify({"boot": source, ...}, required=[...])` runs a suite; every probe takes `cell`."""

    def run(
        areas: dict[str, str],
        required: Sequence[str],
        *arguments: str,
        optional: Sequence[str] = (),
        cells: Sequence[Cell] | None = None,
        plugin: str = "",
        html: bool = False,
        cache: Path | None = None,
    ) -> Ran:
        base = tmp_path_factory.mktemp("run")
        for area, source in areas.items():
            (base / "suites" / area).mkdir(parents=True)
            (base / "suites" / area / f"test_{area}.py").write_text(textwrap.dedent(source))
        (base / "conftest.py").write_text(CONFTEST + textwrap.dedent(plugin))
        (base / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\nxfail_strict = true\n")
        plan = plan_of(base / "out", required, optional, cells)
        (base / "plan.json").write_text(plan.model_dump_json())
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COLUMNS"))}
        environment |= {
            "PYTHONPATH": str(CHECKOUT),
            "GUESTCERT_CACHE_DIR": str(cache or base / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "suites", *([] if html else ["--no-html"]), *arguments],
            cwd=base,
            env=environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return Ran(done.returncode, (done.stdout + done.stderr).decode(), plan.out)

    return run
