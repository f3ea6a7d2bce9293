"""What a probe that does nothing costs with all reporting on, against a test that does nothing under plain pytest."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from cli.plugins import PLUGINS
from fixtures.hookspecs import PLAN
from fixtures.options import CHECKOUT
from matrix.expand import expand
from matrix.load import load
from matrix.model import Binding, MeasuredHost, Profile, Selection
from matrix.plan import Plan

_FEW, _MANY = 20, 420
_ROUNDS = 3
_OUT_VARIABLE = "GUESTCERT_BENCH_OUT"


def measure() -> dict[str, float]:
    """Measured in one run, each the difference of a run of 420 and a run of 20 on one xdist worker, best of three.

    `probe_ms`, `plain_ms`: milliseconds a probe and a plain pytest test; `over_plain_pytest`: their ratio.
    """
    seconds: dict[tuple[bool, int], list[float]] = {}
    for _ in range(_ROUNDS):
        for ours, count in itertools.product((True, False), (_FEW, _MANY)):
            with tempfile.TemporaryDirectory(prefix="guestcert-bench-") as scratch:
                seconds.setdefault((ours, count), []).append(_run(Path(scratch), count, ours=ours))
    best = {kind: min(times) for kind, times in seconds.items()}
    probe, plain = ((best[ours, _MANY] - best[ours, _FEW]) / (_MANY - _FEW) for ours in (True, False))
    return {"probe_ms": probe * 1000, "plain_ms": plain * 1000, "over_plain_pytest": probe / plain}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Loaded with `-p`: bring a plan of one cell whose guest no probe asks for, so that nothing is booted."""
    out = os.environ.get(_OUT_VARIABLE)
    if out is not None and not hasattr(config, "workerinput"):
        config.stash[PLAN] = _plan(Path(out))
    return (yield)


def _plan(out: Path) -> Plan:
    from datetime import UTC, datetime  # noqa: PLC0415

    now = datetime.now(UTC)
    (cell,) = expand(load(), Selection(cell=("debian-12+qemu-tcg+none",)), today=now.date())
    host = MeasuredHost(id="local", uri="test:///default", capabilities={"cpus": 1, "memory_mib": 4096})
    probes = tuple(f"idle/number_{number}" for number in range(_MANY))
    return Plan(
        run_id="bench",
        out=out,
        profile=Profile(id="idle", required=probes),
        bindings=(Binding(cell=cell, host_id="local"),),
        hosts=(host,),
        started=now,
    )


def _run(folder: Path, count: int, *, ours: bool) -> float:
    suite = folder / "suites" / "idle"
    suite.mkdir(parents=True)
    argument = "cell" if ours else ""
    lines = [f"def test_number_{number}({argument}):\n    pass\n" for number in range(count)]
    (suite / "test_idle.py").write_text("\n".join(lines))
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:pytest11.testinfra", "-n1"]
    command += ["-c", str(folder / "pytest.ini"), f"--rootdir={folder}", "--import-mode=importlib"]
    environment = dict(os.environ, PYTHONPATH=str(CHECKOUT))
    if ours:
        command += [word for name in (*PLUGINS, "benchmarks.no_op_probe") for word in ("-p", name)]
        command += ["--no-html", f"--suites={folder / 'suites'}"]
        environment[_OUT_VARIABLE] = str(folder / "out")
    started = time.perf_counter()
    done = subprocess.run(
        [*command, str(suite)], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    elapsed = time.perf_counter() - started
    if not ours and done.returncode != 0:
        raise RuntimeError(f"plain pytest failed:\n{done.stdout}{done.stderr}")
    if ours and done.returncode not in {0, 3}:  # of 420 planned probes the short run leaves 400 out: inconclusive
        raise RuntimeError(f"the run failed with status {done.returncode}:\n{done.stdout}{done.stderr}")
    if ours and (folder / "out" / "events.jsonl").read_text().count('"verdict":"pass"') != count:
        raise RuntimeError(f"not all {count} probes passed:\n{done.stdout}{done.stderr}")
    return elapsed
