"""Lab hosts whose machine is Bochs: VT-x with and without EPT found, guests certified with it, and its death noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
from pydantic import TypeAdapter

from fixtures.checkpoint import CheckpointStore
from fixtures.connection import EMBED
from fixtures.deadline import Deadline
from fixtures.host import Host
from fixtures.lab_host import LabHost
from fixtures.options import CHECKOUT
from images import Store, load_catalogue
from matrix.lab import lab_cells, lab_host_specs
from matrix.load import load
from matrix.model import HostSpec, MeasuredHost
from matrix.places import cache_dir

pytestmark = pytest.mark.slow  # each boots a machine whose every instruction is interpreted

SECONDS = 3600
"""On a machine with other work; an idle one takes a tenth of it."""

CONNECT_SECONDS = 300.0

# Of the smoke profile what a busybox can answer (tests/lab/test_smoke.py).
PROBES = ("boot/cold_boot", "boot/console_speaks", "cpu/vcpu_count", "cpu/hypervisor_identified", "memory/size_seen")


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize(("host", "ept"), [("lab-kvm-intel", True), ("lab-kvm-intel-no-ept", False)])
def test_vt_x_is_found_and_ept_where_the_processor_has_it(host: str, ept: bool, tmp_path: Path) -> None:
    done = command(tmp_path, "hosts", "probe", "--json", host)
    assert done.returncode == 0, done.stderr
    (found,) = TypeAdapter(list[MeasuredHost]).validate_json(done.stdout)
    vmx, tables = found.layers["vmx"], found.layers["ept"]
    assert (vmx.cpu, vmx.firmware, vmx.kernel, vmx.worked) == (True, True, True, True)
    assert (tables.cpu, tables.kernel) == (ept, ept)
    assert found.capabilities["extension.vmx"] is True
    assert found.layers["svm"].cpu is False
    assert str(found.capabilities["made_by"]).startswith("Bochs ")


def test_xen_has_vt_x_and_says_which_guests_it_cannot_start(tmp_path: Path) -> None:
    done = command(tmp_path, "hosts", "probe", "--json", "lab-xen-intel")
    assert done.returncode == 0, done.stderr
    (found,) = TypeAdapter(list[MeasuredHost]).validate_json(done.stdout)
    offered = {name for name, value in found.capabilities.items() if name.startswith("hypervisor.") and value is True}
    assert offered == {"hypervisor.xen-pv", "hypervisor.xen-pvh", "hypervisor.xen-hvm"}
    assert found.capabilities["extension.vmx"] is True
    assert found.capabilities["feature.direct_boot.xen-hvm"] is False
    assert str(found.capabilities["made_by"]).startswith("Bochs ")


@pytest.mark.parametrize("cell", ["minimal+kvm+vmx", "minimal+xen-pvh+vmx"])
@pytest.mark.parametrize("vcpus", [1, 2])
def test_the_smallest_guest_is_certified_with_vt_x(cell: str, vcpus: int, tmp_path: Path) -> None:
    """With two processors one of the guest's waits for the other with its interrupts off, which once stopped the machine."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "profiles.yaml").write_text(f"profiles: [{{id: lab, required: [{', '.join(PROBES)}]}}]")
    guest = (CHECKOUT / "matrix" / "guests" / "minimal.yaml").read_text()
    assert "vcpus: 1," in guest
    (mine / "guests").mkdir()
    (mine / "guests" / "minimal.yaml").write_text(guest.replace("vcpus: 1,", f"vcpus: {vcpus},"))
    words = ["--matrix", str(mine), "--profile", "lab", "--hosts", "software-intel", "--cell", cell]
    done = command(tmp_path, "run", *words, "-n1", "--no-html", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    (decided,) = [event for event in events if event["event"] == "cell_decided"]
    assert (decided["cell"], decided["verdict"]) == (cell, "certified")


def test_a_guest_that_xen_cannot_start_there_says_why(tmp_path: Path) -> None:
    words = ["--hosts", "lab-xen-intel", "--cell", "minimal+xen-hvm+vmx", "-k", "cold_boot", "--no-html"]
    done = command(tmp_path, "run", *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "host lab-xen-intel starts no xen-hvm guest from a kernel outside of it: QEMU's loader" in done.stdout


def test_a_bochs_that_dies_is_a_host_that_is_lost(tmp_path: Path) -> None:
    matrix = load()
    spec = lab_host_specs(matrix)["lab-kvm-intel"]
    (cell,) = lab_cells(matrix, [spec])
    with ExitStack() as stack:
        store = stack.enter_context(closing(Store(cache_dir())))
        image = store.obtain(load_catalogue()[cell.guest.image])
        base = stack.enter_context(Host.open(HostSpec(id="here", uri=EMBED)))
        checkpoints = CheckpointStore(cache_dir() / "checkpoints")
        lab = LabHost.start(spec, cell, base, image, folder=tmp_path, checkpoints=checkpoints, run_id="tests")
        stack.callback(lab.close)
        host = lab.connect(Deadline.after(CONNECT_SECONDS))
        assert host.lost() is None
        (bochs,) = [
            each for each in psutil.Process().children() if any(word.endswith("/bochs-bin") for word in each.cmdline())
        ]
        bochs.kill()
        lab.machine.await_end()
        deadline = Deadline.after(CONNECT_SECONDS)
        while host.lost() is None:  # the connection's reader has the news a moment later
            assert not deadline.expired
        host.close()
    assert not bochs.is_running()
    assert not list((cache_dir() / "live").glob("*/bochsrc")), "nothing of it is left"
