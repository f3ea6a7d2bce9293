"""Whole runs with a real guest, in which something dies: what is lost is one probe, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fixtures.options import CHECKOUT
from matrix.places import cache_dir
from tests.emulator_processes import emulators

WAIT = 600
"""Seconds until a step of a run counts as hung; a cold boot on a busy machine is the longest part."""

NOT_ROOT = "this user may not unshare networks and mounts; mapped to root it could, and libvirt would take it for root"

PROBES = """
import json, os
import pytest
from tests.emulator_processes import emulators

def tell():
    mine = os.environ["GUESTCERT_RUNTIME_DIR"]
    (qemu,) = emulators(mine)
    with open(os.environ["OUTAGE_FIFO"], "w") as fifo:
        json.dump({"worker": os.getpid(), "qemu": qemu.pid}, fifo)

def test_first(guest):
    assert guest.check(["echo", "here"]) == "here\\n"

def test_victim(guest):
    tell()
    guest.check(["sleep", "600"], timeout=900)

def test_panics(guest):
    guest.run(["sh", "-c", "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"], timeout=900)

def test_hides_a_panic(guest):
    try:
        guest.run(["sh", "-c", "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"], timeout=900)
    except Exception:
        pass

def test_needs_a_port(guest):
    from fixtures.deadline import Deadline
    guest.open_ssh(Deadline.after(300)).close()

def test_then(guest):
    assert guest.check(["echo", "still here"]) == "still here\\n"
"""

ALL_PORTS_TAKEN = """
import os, socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
    file.write("60000 60001")
for port in (60000, 60001):
    taken = socket.socket()
    taken.bind(("0.0.0.0", port))
    taken.listen()
    taken.set_inheritable(True)
    taken.detach()
os.execv(sys.argv[1], sys.argv[1:])
"""


class Lab:
    """One run in a folder of its own, with the image cache of the user and a runtime folder that nobody else uses."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder, self.runtime = folder, runtime
        self.cache = cache_dir()
        self.fifo = folder / "fifo"
        os.mkfifo(self.fifo)
        self._reading = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.process: subprocess.Popen[str] | None = None
        suite = folder / "suites" / "outage"
        suite.mkdir(parents=True)
        (suite / "test_outage.py").write_text(PROBES)
        (folder / "mine").mkdir()

    def start(self, *probes: str, arguments: tuple[str, ...] = ("-n1",), prefix: tuple[str, ...] = ()) -> None:
        lines = ["profiles:"]
        # A probe that no profile speaks of would run as well.
        for name, chosen in (
            ("outage", probes),
            ("all", ("first", "victim", "panics", "hides_a_panic", "needs_a_port", "then")),
        ):
            lines.append(f"  - {{id: {name}, required: [{', '.join(f'outage/{probe}' for probe in chosen)}]}}")
        (self.folder / "mine" / "profiles.yaml").write_text("\n".join(lines))
        command = [*prefix, sys.executable, "-m", "cli.main", "run", "--profile", "outage", "--no-html", "--out", "out"]
        command += ["--matrix", "mine", "--suites", "suites", "--hypervisor", "qemu-tcg"]
        command += [] if "--guest" in arguments else ["--guest", "debian-12"]
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=(self.folder / "printed").open("w"),
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        return clean | {
            "GUESTCERT_CACHE_DIR": str(self.cache),
            "GUESTCERT_RUNTIME_DIR": str(self.runtime),
            "OUTAGE_FIFO": str(self.fifo),
            "PYTHONPATH": str(CHECKOUT),
        }

    def victim(self) -> dict[str, int]:
        """Process ids of worker and QEMU, once the victim probe runs."""
        assert self.process is not None
        ended = os.pidfd_open(self.process.pid)
        readable, _, _ = select.select([self._reading, ended], [], [], WAIT)
        os.close(ended)
        assert self._reading in readable, f"the victim probe never ran:\n{self.printed()}"
        told: dict[str, int] = json.loads(os.read(self._reading, 4096))
        return told

    def end(self) -> int:
        assert self.process is not None
        return self.process.wait(WAIT)

    def printed(self) -> str:
        return (self.folder / "printed").read_text()

    def verdicts(self) -> dict[str, str]:
        return {event["probe"].partition("/")[2]: event["verdict"] for event in self.finished()}

    def reason(self, probe: str) -> str:
        return next(event["reason"] for event in self.finished() if event["probe"] == f"outage/{probe}")

    def finished(self) -> list[dict[str, str]]:
        events = [json.loads(line) for line in (self.folder / "out" / "events.jsonl").read_text().splitlines()]
        return [
            event for event in events if event["event"] in {"probe_finished", "probe_missing"} and "verdict" in event
        ]

    def processes(self) -> list[psutil.Process]:
        """Emulators of this run, whoever their parent is now."""
        return emulators(f"{self.runtime}/")

    def left_behind(self) -> list[str]:
        """Domains, processes, sockets, overlays and registrations of guests; a bare libvirt root may wait for the next."""
        records = [
            path for path in (self.runtime / "registrations").glob("*.json") if not path.name.endswith(".root.json")
        ]
        sockets = list(self.runtime.glob("g*"))
        return [*(f"process {process.pid}" for process in self.processes()), *map(str, (*records, *sockets))]

    def clean(self) -> None:
        subprocess.run(
            [sys.executable, "-m", "cli.main", "clean"],
            env=self.environment(),
            check=True,
            timeout=WAIT,
            cwd=self.folder,
        )

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(WAIT)
        self.clean()
        os.close(self._reading)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    runtime = Path(tempfile.mkdtemp(prefix="gcr-"))  # not below tmp_path: sockets need short names
    made = Lab(tmp_path, runtime)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(runtime, ignore_errors=True)


def test_a_killed_worker_costs_its_probe(lab: Lab) -> None:
    lab.start("first", "victim", "then")
    os.kill(lab.victim()["worker"], signal.SIGKILL)
    assert lab.end() == 3, lab.printed()
    assert lab.verdicts() == {"first": "pass", "victim": "error", "then": "pass"}
    assert "crashed" in lab.reason("victim")
    assert lab.left_behind() == []


def test_a_killed_hypervisor_costs_its_probe(lab: Lab) -> None:
    lab.start("first", "victim", "then")
    os.kill(lab.victim()["qemu"], signal.SIGKILL)
    assert lab.end() == 3, lab.printed()
    assert lab.verdicts() == {"first": "pass", "victim": "error", "then": "pass"}
    assert "hypervisor" in lab.reason("victim")
    assert lab.left_behind() == []


def test_a_killed_controller_leaves_nothing_after_clean(lab: Lab) -> None:
    lab.start("victim")
    victim = lab.victim()
    assert lab.process is not None
    os.kill(lab.process.pid, signal.SIGKILL)
    lab.process.wait(WAIT)
    # The worker sees its connection end, gives up its probe and destroys the guest, or is gone for `clean`.
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(victim["worker"]).wait(WAIT)
    lab.clean()
    assert lab.left_behind() == []
    assert not list((lab.runtime / "registrations").iterdir())


@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_an_interrupted_run_cleans_up_and_reports_what_it_knows(lab: Lab, how: str) -> None:
    lab.start("first", "victim", "then")
    lab.victim()
    assert lab.process is not None
    if how == "ctrl-c":
        os.killpg(lab.process.pid, signal.SIGINT)  # a terminal signals the whole group
    else:
        lab.process.terminate()
    assert lab.end() == 130, lab.printed()
    assert lab.verdicts()["first"] == "pass"
    assert (lab.folder / "out" / "summary.json").exists()
    assert "Traceback" not in lab.printed()
    assert lab.left_behind() == []


@pytest.mark.parametrize("probe", ["panics", "hides_a_panic"])
def test_a_panic_fails_the_probe_that_ran_and_the_next_gets_another_guest(lab: Lab, probe: str) -> None:
    lab.start("first", probe, "then", arguments=("-n0",))
    assert lab.end() == 1, lab.printed()
    assert lab.verdicts() == {"first": "pass", probe: "fail", "then": "pass"}
    assert "sysrq" in lab.reason(probe).lower() or "panic" in lab.reason(probe).lower()
    assert lab.left_behind() == []


def test_a_damaged_image_costs_its_own_cells_only(lab: Lab) -> None:
    disk = lab.folder / "damaged.qcow2"
    disk.write_bytes(b"QFI\xfb" + b"\0" * 4096)
    overlay = lab.folder / "mine"
    (overlay / "images").mkdir()
    (overlay / "guests").mkdir()
    (overlay / "images" / "damaged.yaml").write_text(
        f"kind: url\nid: damaged\nname: Damaged\nurl: {disk}\nformat: qcow2\nsha256: '{'0' * 64}'\norigin: a test\n"
        "root_device: LABEL=root\nseed: none\n"
    )
    (overlay / "guests" / "damaged.yaml").write_text(
        "id: damaged\nname: Damaged\nvendor: Nobody\nversion: '1'\nimage: damaged\n"
    )
    lab.start("first", arguments=("-n0", "--guest", "damaged", "--guest", "debian-12"))
    assert lab.end() == 0, lab.printed()
    assert lab.verdicts() == {"first": "pass"}
    summary = (lab.folder / "out" / "summary.json").read_text()
    assert "image damaged" in summary
    assert "Traceback" not in lab.printed()


def test_no_free_port_is_an_error_of_the_lab_in_one_line(lab: Lab) -> None:
    wrapper = ("unshare", "--net")
    if subprocess.run([*wrapper, "ip", "link", "set", "lo", "up"], check=False, capture_output=True).returncode:
        pytest.skip(NOT_ROOT)
    lab.start("needs_a_port", arguments=("-n0",), prefix=(*wrapper, sys.executable, "-c", ALL_PORTS_TAKEN))
    assert lab.end() == 3, lab.printed()
    assert lab.verdicts() == {"needs_a_port": "error"}
    assert "no port of 127.0.0.1" in lab.reason("needs_a_port"), lab.reason("needs_a_port")
    assert "Traceback" not in lab.printed()
    assert lab.left_behind() == []


def test_a_full_disk_is_an_error_of_the_lab_in_one_line(lab: Lab) -> None:
    small = lab.folder / "small"
    small.mkdir()
    wrapper = ("unshare", "--mount")
    if subprocess.run(
        [*wrapper, "mount", "-t", "tmpfs", "none", str(small)], check=False, capture_output=True
    ).returncode:
        pytest.skip(NOT_ROOT)
    # Images come from the real cache; overlays, live disks and checkpoints go to 24 MiB.
    links = "".join(
        f"ln -s {lab.cache}/{name} {small}/{name} && "
        for name in ("images", "keys", "libvirt-capabilities", "programs")
        if (lab.cache / name).exists()
    )
    script = f'mount -t tmpfs -o size=24m none {small} && {links}exec "$@"'
    lab.cache = small
    lab.start("first", arguments=("-n0",), prefix=(*wrapper, "sh", "-c", script, "sh"))
    assert lab.end() == 3, lab.printed()
    assert lab.verdicts() == {"first": "error"}
    assert "No space left" in lab.reason("first"), lab.reason("first")
    assert "Traceback" not in lab.printed()
    assert lab.left_behind() == []
