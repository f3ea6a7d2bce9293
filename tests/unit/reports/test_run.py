"""Whole runs, with and without workers: what a reader of the run folder is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from reports.events import (
    CellDecided,
    ProbeMissing,
    ProbesCollected,
    ProbeStarted,
    RunFinished,
    RunStarted,
    WorkerCrashed,
)
from reports.identity import ProbeKey, history_id, probe_digest
from reports.verdict import CellVerdict, Verdict
from tests.unit.reports.conftest import CHECKOUT, Certify, Ran

PROBES = '''
    import pytest
    from fixtures.faults import GuestFault, HostFault
    from fixtures.observation import Direction

    def test_good(cell, metric, attach, step):
        """A good probe.

        Preconditions: none.
        Expected: nothing | else <b>.
        """
        metric("boot", 12.5, "s", Direction.LOWER)
        with step("outer"):
            with step("inner"):
                attach("console.log", "hello\\x1b[31m red", "text/plain")

    def test_assertion(cell, step):
        with step("look"):
            assert 1 == 2, "expected one, saw two"

    def test_guest_fault(cell):
        raise GuestFault("the guest did not answer")

    def test_host_fault(cell):
        raise HostFault("the host is full")

    def test_skipped(cell):
        pytest.skip("no host offers rng")

    @pytest.fixture
    def broken_setup():
        raise HostFault("no bridge")

    @pytest.fixture
    def guest_never_ready():
        raise GuestFault("not ready after 60 s")

    @pytest.fixture
    def broken_teardown():
        yield
        raise OSError("cannot remove the overlay")

    def test_setup_error(cell, broken_setup):
        pass

    def test_setup_fail(cell, guest_never_ready):
        pass

    def test_teardown_error(cell, broken_teardown):
        pass

    def test_fail_then_teardown_error(cell, broken_teardown):
        assert False, "first"

    def test_skip_then_teardown_error(cell, broken_teardown):
        pytest.skip("later")

    @pytest.mark.xfail(reason="bug 7")
    def test_expected_failure(cell):
        assert False, "still broken"

    @pytest.mark.xfail(reason="bug 8")
    def test_unexpected_pass(cell):
        pass

    @pytest.mark.parametrize("disk", ["virtio-blk", "nvme"])
    def test_variants(cell, disk):
        assert disk == "nvme", "no such disk"

    def test_hostile(cell):
        raise AssertionError("\\x1b]0;owned\\x07\\x00 bad \\udc80 \\u202e text " + "x" * 300000)

    def test_group(cell):
        raise ExceptionGroup("two", [AssertionError("a"), HostFault("b")])
'''

EXPECTED = {
    "boot/good": Verdict.PASS,
    "boot/assertion": Verdict.FAIL,
    "boot/guest_fault": Verdict.FAIL,
    "boot/host_fault": Verdict.ERROR,
    "boot/skipped": Verdict.SKIP,
    "boot/setup_error": Verdict.ERROR,
    "boot/setup_fail": Verdict.FAIL,
    "boot/teardown_error": Verdict.ERROR,
    "boot/fail_then_teardown_error": Verdict.FAIL,
    "boot/skip_then_teardown_error": Verdict.ERROR,
    "boot/expected_failure": Verdict.FAIL,
    "boot/unexpected_pass": Verdict.PASS,
    "boot/variants": Verdict.FAIL,
    "boot/hostile": Verdict.FAIL,
    "boot/group": Verdict.FAIL,
    "boot/never_written": None,
}


@pytest.fixture(scope="module", params=["-n0", "-n2"])
def everything(request: pytest.FixtureRequest, certify: Certify) -> Ran:
    return certify({"boot": PROBES}, list(EXPECTED), request.param)


def test_every_way_to_end_has_its_verdict_in_every_cell(everything: Ran) -> None:
    for cell_id in ("alpha+qemu-tcg+none", "beta-2+qemu-tcg+none"):
        assert {probe.probe: probe.verdict for probe in everything.cell(cell_id).probes} == EXPECTED


def test_the_run_exits_with_one_and_says_so(everything: Ran) -> None:
    assert everything.status == 1
    assert "Exit 1: a cell failed" in everything.printed
    [finished] = [event for event in everything.events if isinstance(event, RunFinished)]
    assert (finished.exit_code, finished.interrupted) == (1, False)


def test_events_begin_and_end_as_documented(everything: Ran) -> None:
    events = everything.events
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert sum(isinstance(event, ProbesCollected) for event in events) == 1
    started = [event.node for event in events if isinstance(event, ProbeStarted)]
    assert len(started) == len(set(started)) == 2 * len(EXPECTED)  # one never written, one with two variants
    assert {event.cell: event.verdict for event in events if isinstance(event, CellDecided)} == {
        "alpha+qemu-tcg+none": CellVerdict.FAILED,
        "beta-2+qemu-tcg+none": CellVerdict.FAILED,
        "alpha+kvm+svm": CellVerdict.UNTESTED,
    }


def test_what_a_probe_saw_arrives(everything: Ran) -> None:
    good = everything.finished("boot/good")
    assert [(metric.name, metric.value, metric.unit, metric.direction.value) for metric in good.metrics] == [
        ("boot", 12.5, "s", "lower")
    ]
    assert [(step.title, step.depth, step.error) for step in good.steps] == [("inner", 1, None), ("outer", 0, None)]
    assert [attachment.path for attachment in good.attachments] == [
        "evidence/alpha+qemu-tcg+none/boot.good/console.log"
    ]
    assert good.description.startswith("A good probe.")
    assert set(good.phases) == {"setup", "call", "teardown"}


def test_reasons_are_for_people(everything: Ran) -> None:
    reasons = {probe.removeprefix("boot/"): everything.probe(probe).reason for probe in EXPECTED}
    assert reasons["good"] is None
    assert reasons["assertion"] == "expected one, saw two"
    assert reasons["guest_fault"] == "the guest did not answer"
    assert reasons["skipped"] == "no host offers rng"
    assert reasons["setup_error"] == "setup: no bridge"
    assert reasons["teardown_error"] == "teardown: OSError: cannot remove the overlay"
    assert reasons["expected_failure"] == "expected failure (bug 7): still broken"
    assert "passed although it is marked" in (reasons["unexpected_pass"] or "")
    assert reasons["variants"] == "virtio-blk: no such disk"
    assert reasons["never_written"] == "not selected, or no suite has it"


def test_a_failed_step_keeps_its_error(everything: Ran) -> None:
    [step] = everything.finished("boot/assertion").steps
    assert step.error is not None
    assert "expected one, saw two" in step.error


def test_missing_probes_are_recorded(everything: Ran) -> None:
    missing = {(event.cell, event.probe) for event in everything.events if isinstance(event, ProbeMissing)}
    assert missing == {("alpha+qemu-tcg+none", "boot/never_written"), ("beta-2+qemu-tcg+none", "boot/never_written")}


def test_hostile_text_is_harmless_everywhere(everything: Ran) -> None:
    finished = everything.finished("boot/hostile")
    assert finished.reason is not None
    assert len(finished.reason) <= 500
    assert "bad \ufffd \ufffd text" in finished.reason
    for text in (
        everything.printed,
        (everything.out / "index.html").read_text(),
        (everything.out / "events.jsonl").read_text(),
    ):
        assert "\x1b" not in text
        assert "\x00" not in text
        assert "\u202e" not in text
    assert len(everything.printed) < 30_000


def test_junit_counts_what_happened(everything: Ran) -> None:
    root = etree.parse(everything.out / "junit.xml").getroot()
    alpha = root.find("testsuite[@name='alpha+qemu-tcg+none']")
    assert alpha is not None
    verdicts = list(EXPECTED.values())
    assert alpha.get("tests") == str(len(EXPECTED))
    assert alpha.get("failures") == str(verdicts.count(Verdict.FAIL))
    assert alpha.get("errors") == str(verdicts.count(Verdict.ERROR) + verdicts.count(None))
    assert alpha.get("skipped") == "1"
    untested = root.find("testsuite[@name='alpha+kvm+svm']/testcase/skipped")
    assert untested is not None
    assert untested.get("message") == "no host offers svm"


def test_summary_is_complete(everything: Ran) -> None:
    summary = json.loads((everything.out / "summary.json").read_text())
    assert (summary["schema_version"], summary["exit_code"], summary["complete"]) == (1, 1, True)
    assert {each["id"]: each["verdict"] for each in summary["cells"]} == {
        "alpha+qemu-tcg+none": "failed",
        "beta-2+qemu-tcg+none": "failed",
        "alpha+kvm+svm": "untested",
    }
    good = next(probe for probe in summary["cells"][0]["probes"] if probe["id"] == "boot/good")
    assert good["metrics"] == [{"name": "boot", "value": 12.5, "unit": "s", "direction": "lower"}]


def allure(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((out / "allure-results").glob("*-result.json"))]


def test_allure_has_one_result_for_everything_expected_and_untested(everything: Ran) -> None:
    results = allure(everything.out)
    history = [result["historyId"] for result in results]
    assert len(history) == len(set(history)) == 2 * (len(EXPECTED) + 1) + 1
    status = {(result["fullName"], result["titlePath"][0]): result["status"] for result in results}
    assert status["boot.good", "alpha"] == "passed"
    assert status["boot.guest_fault", "alpha"] == "failed"
    assert status["boot.setup_fail", "alpha"] == "failed"
    assert status["boot.host_fault", "alpha"] == "broken"
    assert status["boot.teardown_error", "alpha"] == "broken"
    assert status["boot.expected_failure", "beta-2"] == "failed"
    assert status["boot.unexpected_pass", "beta-2"] == "passed"
    assert status["boot.never_written", "beta-2"] == "unknown"
    assert status["cell.untested", "alpha"] == "skipped"


def test_allure_identity_depends_on_nothing_but_cell_and_probe(everything: Ran) -> None:
    cells = ("alpha+qemu-tcg+none", "beta-2+qemu-tcg+none")
    keys = [ProbeKey(cell_id, probe) for cell_id in cells for probe in EXPECTED if probe != "boot/variants"]
    keys += [ProbeKey(cell_id, "boot/variants", disk) for cell_id in cells for disk in ("virtio-blk", "nvme")]
    keys += [ProbeKey("alpha+kvm+svm", "cell/untested")]
    results = allure(everything.out)
    assert {result["historyId"] for result in results} == {history_id(key) for key in keys}
    assert {result["testCaseId"] for result in results} == {probe_digest(key.probe) for key in keys}
    values = [parameter["value"] for result in results for parameter in result["parameters"]]
    assert not [value for value in values if any(mark in value for mark in ("::", "@", "/"))]


def test_allure_shows_steps_metrics_and_evidence(everything: Ran) -> None:
    [good] = [
        result
        for result in allure(everything.out)
        if result["fullName"] == "boot.good" and result["titlePath"][0] == "alpha"
    ]
    [outer] = good["steps"]
    assert outer["steps"][0]["name"] == "inner"
    assert outer["steps"][0]["attachments"][0]["name"] == "console.log"
    [metrics] = good["attachments"]
    assert (everything.out / "allure-results" / metrics["source"]).read_text().splitlines()[1] == "boot,12.5,s,lower"
    assert "| boot | 12.5 | s | lower |" in str(good["description"])
    assert "**Expected:** nothing | else &lt;b&gt;." in str(good["description"])
    labels = {label["name"]: label["value"] for label in good["labels"]}
    assert (labels["parentSuite"], labels["suite"], labels["subSuite"]) == ("alpha", "qemu-tcg", "boot")
    assert labels["host"] == "local"


def test_pytests_own_words_are_kept_in_a_file(everything: Ran) -> None:
    assert "test session starts" in (everything.out / "pytest.log").read_text()
    assert "test session starts" not in everything.printed


def test_a_line_for_each_probe_when_nobody_watches(everything: Ran) -> None:
    lines = [line for line in everything.printed.splitlines() if line.startswith("[")]
    assert len(lines) == 2 * len(EXPECTED)
    assert any("PASS  alpha+qemu-tcg+none  boot/good" in line for line in lines)


def test_failures_are_explained_at_the_end(everything: Ran) -> None:
    tail = everything.printed[everything.printed.rindex("[32/32]") :]
    assert "✘ fail alpha+qemu-tcg+none  boot/assertion" in tail
    assert "expected one, saw two" in tail
    assert "assert 1 == 2" in tail


@pytest.fixture(scope="module")
def certified(certify: Certify) -> Ran:
    source = "def test_good(cell): pass\ndef test_extra(cell): assert 0, 'slow'\n"
    return certify({"boot": source}, ["boot/good"], "-n0", optional=["boot/extra"])


def test_all_certified_exits_with_zero(certified: Ran) -> None:
    assert certified.status == 0
    assert certified.cell().reason == "all 1 required probes passed"
    assert "Exit 0: every tested cell is certified" in certified.printed


def test_a_failed_optional_probe_is_shown_but_does_not_decide(certified: Ran) -> None:
    assert certified.cell().verdict is CellVerdict.CERTIFIED
    assert "✘ fail alpha+qemu-tcg+none  boot/extra (optional)" in certified.printed
    assert "slow" in certified.printed


def test_what_is_the_same_for_several_probes_is_told_once(certify: Certify) -> None:
    lost = "import pytest\n@pytest.fixture\ndef lost(): raise RuntimeError('the host is lost')\n"
    probes = "".join(f"def test_{name}(cell, lost): pass\n" for name in ("one", "two", "three", "four", "five"))
    source = f"{lost}{probes}def test_six(cell): assert 0, 'another'\n"
    required = [f"boot/{name}" for name in ("one", "two", "three", "four", "six")]
    ran = certify({"boot": source}, required, "-n0", optional=["boot/five"])
    tail = ran.printed[ran.printed.index("! error") : ran.printed.index(" guest ")]
    (told,) = [line for line in tail.splitlines() if line.startswith("! error alpha")]
    assert told.endswith("+qemu-tcg+none  boot/one, boot/two, boot/three and 2 more")
    assert tail.count("the host is lost") == tail.count("! error")
    assert "✘ fail alpha+qemu-tcg+none  boot/six" in tail


def test_deselected_probes_never_certify(certify: Certify) -> None:
    source = "def test_good(cell): pass\ndef test_other(cell): pass\n"
    ran = certify({"boot": source}, ["boot/good", "boot/other"], "-n0", "-k", "good")
    assert ran.status == 3
    assert ran.cell().verdict is CellVerdict.INCONCLUSIVE
    assert ran.cell().reason == "1 of 2 required probes missing: boot/other (not selected, or no suite has it)"


def test_a_dead_worker_is_one_error_with_its_evidence(certify: Certify) -> None:
    source = """
        import os, signal

        def test_before(cell, attach): pass

        def test_killer(cell, attach, metric):
            attach("console.log", "last words")
            if "alpha" in cell.cell.id:
                os.kill(os.getpid(), signal.SIGKILL)

        def test_after(cell): pass
    """
    required = ["boot/before", "boot/killer", "boot/after"]
    ran = certify({"boot": source}, required, "-n2")
    killed = ran.finished("boot/killer")
    assert (killed.verdict, killed.crashed) == (Verdict.ERROR, True)
    assert killed.reason is not None
    assert killed.reason.startswith("worker gw")
    assert [attachment.path for attachment in killed.attachments] == [
        "evidence/alpha+qemu-tcg+none/boot.killer/console.log"
    ]
    assert ran.probe("boot/before").verdict is Verdict.PASS
    assert ran.cell("beta-2+qemu-tcg+none").verdict is CellVerdict.CERTIFIED
    assert ran.cell().verdict is CellVerdict.INCONCLUSIVE
    assert ran.status == 3
    [crash] = [event for event in ran.events if isinstance(event, WorkerCrashed)]
    assert crash.node == killed.node
    [shown] = [
        result
        for result in allure(ran.out)
        if result["fullName"] == "boot.killer" and result["titlePath"][0] == "alpha"
    ]
    assert shown["status"] == "broken"
    [attachment] = shown["attachments"]
    assert (ran.out / "allure-results" / attachment["source"]).read_text() == "last words"


def test_a_probe_file_that_cannot_be_read_is_bad_input(certify: Certify) -> None:
    ran = certify({"boot": "import no_such_module\n"}, ["boot/good"], "-n0")
    assert ran.status == 2
    assert "No module named 'no_such_module'" in ran.printed
    assert ran.outcome.collection_failures


def test_without_a_host_nothing_is_tested(certify: Certify) -> None:
    ran = certify({"boot": "def test_good(cell): pass\n"}, ["boot/good"], "-n0", cells=[])
    assert ran.status == 5
    assert "untested kvm+svm: no host offers svm" in ran.printed


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_an_interrupted_run_says_so_and_keeps_what_it_has(certify: Certify, workers: str) -> None:
    source = f"""
        import os, signal

        def test_first(cell): pass

        def test_second(cell):
            os.kill({"os.getppid()" if workers == "-n1" else "os.getpid()"}, {int(signal.SIGINT)})
            signal.pause()
    """
    ran = certify({"boot": source}, ["boot/first", "boot/second"], workers)
    assert ran.status == 130
    assert ran.outcome.interrupted
    assert ran.probe("boot/first").verdict is Verdict.PASS
    assert (ran.out / "summary.json").exists()
    assert (ran.out / "index.html").exists()


def test_what_a_worker_had_told_is_kept_when_a_busy_controller_is_interrupted(certify: Certify) -> None:
    source = """
        import signal
        from pathlib import Path

        def test_first(cell): pass

        def test_second(cell):
            Path("first-ended").write_text("as its worker saw it")
            signal.pause()

        def test_third(cell): pass  # a worker begins nothing before it knows what comes next
    """
    busy = f"""
        import os, signal

        if "PYTEST_XDIST_WORKER" not in os.environ:
            os.mkfifo("first-ended")

            def pytest_runtest_logstart(nodeid):
                if "test_first" in nodeid:
                    Path("first-ended").read_text()
                    signal.raise_signal({int(signal.SIGINT)})
    """
    ran = certify({"boot": source}, ["boot/first", "boot/second", "boot/third"], "-n1", plugin=busy)
    assert ran.status == 130
    assert ran.probe("boot/first").verdict is Verdict.PASS
    assert ran.probe("boot/second").verdict is None


def test_a_verdict_that_is_just_being_written_is_kept(certify: Certify) -> None:
    interrupting = f"""
        import signal
        from reports.event_log import EventWriter

        write = EventWriter.write

        def written(self, event):
            if event.event == "probe_finished":
                signal.raise_signal({int(signal.SIGINT)})
            write(self, event)

        EventWriter.write = written
    """
    ran = certify({"boot": "def test_first(cell): pass\n"}, ["boot/first"], "-n0", plugin=interrupting)
    assert ran.status == 130
    assert ran.probe("boot/first").verdict is Verdict.PASS


def test_a_folder_with_a_run_is_refused(certified: Ran) -> None:
    first = certified
    events = (first.out / "events.jsonl").read_bytes()
    again = subprocess.run(
        [sys.executable, "-m", "pytest", "suites", "-n0", "--no-html"],
        cwd=first.out.parent,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 4
    assert "holds a run already" in again.stderr
    assert (first.out / "events.jsonl").read_bytes() == events


def test_pytest_without_a_plan_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text("def test_plain(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "reports.plugin", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "1 passed" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["test_plain.py"]
