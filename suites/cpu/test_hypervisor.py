"""Does the guest know who runs it?"""

from __future__ import annotations

import json

import pytest

from fixtures.guest import Guest
from suites.cpu.cpuid_program import cpuid_program, parse_cpuid, run_program_snippet
from suites.cpu.identification import identify_name, identify_signature
from suites.fixture_types import Attach
from suites.reading.batch import files_snippet, parse_files, run_batch

_DMI = tuple(f"/sys/class/dmi/id/{name}" for name in ("product_name", "sys_vendor", "board_vendor", "bios_vendor"))


@pytest.mark.requires("x86", "linux")
def test_hypervisor_identified(guest: Guest, attach: Attach) -> None:
    """The guest sees the hypervisor that it was meant to run on.

    Preconditions: an x86 guest; the matrix knows the hypervisor's CPUID signature and names.
    Steps: execute CPUID leaf 0x40000000 inside; ask systemd-detect-virt, or tell the name the way it does.
    Expected: the signature and the name are those of the cell's hypervisor.
    """
    hypervisor = guest.cell.hypervisor
    # Under paravirtual Xen the bare instruction shows the machine below Xen, so there it is announced.
    program = (
        "case $(cat /sys/hypervisor/guest_type 2>/dev/null) in PV)\n"
        f"{run_program_snippet(cpuid_program(announced_to_xen=True))}\n;; *)\n{run_program_snippet(cpuid_program())}\n;; esac"
    )
    batch = run_batch(
        guest,
        {
            "cpuid": program,
            # One leaf is 16 bytes, and the file's position is the leaf's number: cpuid(4).
            "device": "[ -r /dev/cpu/0/cpuid ] && dd if=/dev/cpu/0/cpuid bs=16 skip=67108864 count=1 2>/dev/null",
            "detect": "systemd-detect-virt --vm 2>/dev/null",
            "type": "cat /sys/hypervisor/type 2>/dev/null",
            "dmi": files_snippet(*_DMI),
        },
    )
    signatures = identify_signature(parse_cpuid(batch["cpuid"].stdout), batch["device"].stdout, batch["type"].text)
    name = identify_name(batch["detect"].text, batch["type"].text, parse_files(batch["dmi"].text, *_DMI), signatures)
    seen = {"signatures": signatures, "name": name.word, "told by": name.source}
    attach("hypervisor-identification.json", json.dumps(seen, indent=2), "application/json")
    assert hypervisor.cpuid_signature is None or hypervisor.cpuid_signature in signatures, (
        f"expected CPUID signature {hypervisor.cpuid_signature!r} of {hypervisor.name}, the guest sees "
        f"{', '.join(map(repr, signatures)) or 'none'}; see hypervisor-identification.json"
    )
    assert not hypervisor.detect_virt or name.word in hypervisor.detect_virt, (
        f"expected the guest to name its hypervisor {' or '.join(hypervisor.detect_virt)}, {name.source} says "
        f"{name.word!r}; see hypervisor-identification.json"
    )
