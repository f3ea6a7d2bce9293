"""`guestcert hosts probe` on the real hypervisors of the software lab."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import TypeAdapter

from fixtures.options import CHECKOUT
from matrix.model import MeasuredHost

pytestmark = pytest.mark.slow  # lab hosts are started and measured

SECONDS = 1500
"""Images of lab hosts may have to be built and booted first, five minutes each on two idle cores."""


def probed(host: str) -> MeasuredHost:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "hosts", "probe", "--json", host],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (found,) = TypeAdapter(list[MeasuredHost]).validate_json(done.stdout)
    return found


def test_a_kvm_host_whose_processor_is_translated() -> None:
    found = probed("lab-kvm")
    for feature in ("svm", "npt"):
        layers = found.layers[feature]
        assert (layers.cpu, layers.firmware, layers.kernel, layers.worked) == (True, True, True, True), feature
    assert found.layers["svm"].hypervisor is True
    assert found.layers["vmx"].cpu is False
    assert found.layers["sev"].worked is not True
    assert found.capabilities["extension.svm"] is True
    for fact in ("cpu_model", "kernel", "microcode", "libvirt_version", "hypervisor_version"):
        assert isinstance(found.capabilities[fact], str), fact


@pytest.mark.parametrize("feature", ["svm", "npt"])
def test_a_xen_host_whose_processor_is_translated(feature: str) -> None:
    found = probed("lab-xen")
    layers = found.layers[feature]
    assert (layers.kernel, layers.hypervisor) == (True, True)
    assert layers.worked is None, "no guest was tried with it"
    assert "hvm" in str(found.capabilities["virt_caps"]).split()
    assert str(found.capabilities["xen_version"]).startswith("4.")
