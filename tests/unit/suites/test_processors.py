"""CPU topology and the question who the hypervisor is."""

from __future__ import annotations

import platform
import struct
from pathlib import Path

import pytest

from suites.cpu.cpuid_program import CpuidReading, cpuid_program, parse_cpuid, run_program_snippet
from suites.cpu.identification import identify_name, identify_signature
from suites.reading.batch import run_batch
from suites.reading.sysfs import Topology, parse_topology
from tests.unit.suites.local_shell import LocalShell


def topology_files(places: list[tuple[int, int, int]]) -> dict[str, str]:
    files: dict[str, str] = {}
    for cpu, (package, die, core) in enumerate(places):
        folder = f"/sys/devices/system/cpu/cpu{cpu}/topology"
        files |= {
            f"{folder}/physical_package_id": f"{package}",
            f"{folder}/die_id": f"{die}",
            f"{folder}/core_id": f"{core}",
        }
    return files


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(0, 0, 0), (0, 0, 1)], Topology(1, 2, 1)),
        ([(0, 0, 0), (1, 0, 0)], Topology(2, 1, 1)),
        ([(0, 0, 0), (0, 0, 0), (0, 0, 1), (0, 0, 1)], Topology(1, 2, 2)),
        ([(0, 0, 0), (0, 1, 0)], Topology(1, 2, 1)),
        ([(0, 0, 0), (0, 0, 1), (1, 0, 0)], Topology(2, None, 1)),
        ([(0, 0, 0), (0, 0, 0), (0, 0, 1)], Topology(1, 2, None)),
    ],
)
def test_topology(places: list[tuple[int, int, int]], expected: Topology) -> None:
    assert parse_topology(topology_files(places)) == expected


@pytest.mark.parametrize(
    ("seen", "vcpus"), [(Topology(1, 1, 2), 2), (Topology(2, 2, 2), 8), (Topology(2, None, 1), None)]
)
def test_processors_of_a_topology(seen: Topology, vcpus: int | None) -> None:
    assert seen.vcpus == vcpus


def test_no_topology() -> None:
    assert parse_topology({}) is None


def cpuid_output(first: bytes, second: bytes = b"", *, present: bool = True) -> bytes:
    return struct.pack("<I12s12s", (1 << 31) * present, first, second)


def test_cpuid_output() -> None:
    assert parse_cpuid(cpuid_output(b"KVMKVMKVM")) == CpuidReading(hypervisor_present=True, signatures=("KVMKVMKVM",))
    assert parse_cpuid(cpuid_output(b"Microsoft Hv", b"XenVMMXenVMM")) == CpuidReading(
        hypervisor_present=True, signatures=("Microsoft Hv", "XenVMMXenVMM")
    )
    assert parse_cpuid(cpuid_output(b"bhyve bhyve ", b"\x01\x02\x03")) == CpuidReading(
        hypervisor_present=True, signatures=("bhyve bhyve ",)
    )
    assert parse_cpuid(cpuid_output(b"GenuineIntel", present=False)) == CpuidReading(
        hypervisor_present=False, signatures=()
    )
    assert parse_cpuid(b"") is None
    assert parse_cpuid(b"Illegal instruction") is None


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is for x86-64")
def test_the_program_runs_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    section = run_batch(LocalShell(), {"cpuid": run_program_snippet(cpuid_program())})["cpuid"]
    reading = parse_cpuid(section.stdout)
    assert section.status == 0
    assert reading is not None
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    assert reading.hypervisor_present is ("hypervisor" in flags.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is for x86-64")
def test_the_announced_program_dies_where_there_is_no_xen() -> None:
    if Path("/sys/hypervisor/type").exists():
        pytest.skip("this machine is a Xen guest")
    section = run_batch(LocalShell(), {"cpuid": run_program_snippet(cpuid_program(announced_to_xen=True))})["cpuid"]
    assert section.status == 126
    assert parse_cpuid(section.stdout) is None


def test_signature_by_the_next_best_source() -> None:
    leaf = struct.pack("<I", 0x40000001) + b"XenVMMXenVMM"
    assert identify_signature(CpuidReading(hypervisor_present=True, signatures=("KVMKVMKVM",)), leaf, "xen\n") == (
        "KVMKVMKVM",
    )
    assert identify_signature(None, leaf, "") == ("XenVMMXenVMM",)
    assert identify_signature(None, b"", "xen\n") == ("XenVMMXenVMM",)
    assert identify_signature(CpuidReading(hypervisor_present=False, signatures=()), b"", "") == ()


@pytest.mark.parametrize(
    ("detect", "xen_type", "dmi", "signatures", "told"),
    [
        ("kvm\n", "", {}, (), ("kvm", "systemd-detect-virt")),
        ("none\n", "", {}, ("TCGTCGTCGTCG",), ("qemu", "CPUID")),
        ("", "xen\n", {"a": "QEMU"}, (), ("xen", "/sys/hypervisor/type")),
        ("", "", {"a": "innotek GmbH"}, ("KVMKVMKVM",), ("oracle", "DMI")),
        ("", "", {"a": "QEMU"}, ("KVMKVMKVM",), ("kvm", "CPUID")),
        ("", "", {"a": "QEMU"}, (), ("qemu", "DMI")),
        ("", "", {"a": "Dell Inc."}, (), (None, "nothing in the guest")),
    ],
)
def test_name(
    detect: str, xen_type: str, dmi: dict[str, str], signatures: tuple[str, ...], told: tuple[str | None, str]
) -> None:
    found = identify_name(detect, xen_type, dmi, signatures)
    assert (found.word, found.source) == told
