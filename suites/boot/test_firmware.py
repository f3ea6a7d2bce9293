"""Is it the firmware that was asked for, and does Secure Boot keep out what nobody signed?"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict

import pytest

from fixtures.deadline import Deadline
from fixtures.guest import Guest
from suites.boot.bounds import boot_bounds
from suites.boot.firmware import READ_FIRMWARE, certificate_entry, judge_firmware, parse_firmware
from suites.fixture_types import Attach, OpenStep

_ON_PARTITION = """
disk=$(mktemp -d) && trap 'umount "$disk"; rmdir "$disk"' EXIT
for device in $(blkid -t PARTLABEL=esp -o device; blkid -t LABEL=EFI -o device; blkid -t TYPE=vfat -o device) none; do
    mount -t vfat "$device" "$disk" 2>/dev/null && [ -d "$disk/EFI" ] && break
    umount "$disk" 2>/dev/null
done
[ "$device" != none ] || exit 3
"""
"""Mounts the EFI system partition as $disk while the shell lives; status 3 when there is none."""

_LIST = 'find "$disk/EFI" -iname \'*.efi\' | while read -r file; do echo "${file#$disk} $(head -c 1024 "$file" | base64 | tr -d \'\\n\')"; done'

# What EDK II says when a program is not signed by a key that it knows (EFI_ACCESS_DENIED, EFI_SECURITY_VIOLATION).
_REFUSED = re.compile(rb"Access Denied|Security Violation", re.IGNORECASE)
_STARTED = re.compile(rb"GRUB|Linux version|EFI stub")


@pytest.mark.requires("linux")
def test_firmware_matches(guest: Guest, attach: Attach) -> None:
    """The guest was started by the firmware that its entry asks for, Secure Boot included.

    Preconditions: none; to see Secure Boot, the login user may read the firmware's variables.
    Steps: look for the kernel's EFI interface; read the variables SecureBoot and SetupMode.
    Expected: BIOS or UEFI as asked; with UEFI, Secure Boot on or off as asked, and keys enrolled where it is on.
    """
    done = guest.run(("sh", "-c", READ_FIRMWARE))
    if done.status == 3:
        pytest.skip("the guest's kernel shows no variables of the firmware (no efivarfs)")
    assert done.status == 0, f"expected the firmware to be told, reading it failed: {done.error_text.strip()[-300:]}"
    reading = parse_firmware(done.text)
    attach("firmware.json", json.dumps(asdict(reading), indent=2), "application/json")
    problem = judge_firmware(reading, guest.spec.firmware)
    assert problem is None, f"{problem}; see firmware.json"


@pytest.mark.requires("secure_boot", "loader", "linux")
def test_unsigned_loader_refused(fresh_guest: Guest, attach: Attach, step: OpenStep) -> None:
    """With Secure Boot, firmware does not start a loader without a signature.

    Preconditions: firmware with Secure Boot; the image's own loader; an EFI system partition that the guest can write to.
    Steps: take the signatures off the loaders on that partition, and nothing else; reset.
    Expected: the firmware says that it refuses, and neither a loader nor a kernel says anything.
    """
    with step("take the signatures off"):
        listed = fresh_guest.run(("sh", "-c", f"{_ON_PARTITION}\n{_LIST}"))
        if listed.status == 3:
            pytest.skip("the guest has no EFI system partition that it can mount")
        heads = [line.rpartition(" ") for line in listed.text.splitlines()]
        signed = {path: certificate_entry(base64.b64decode(head)) for path, _, head in heads}
        attach("loaders.json", json.dumps(signed, indent=2), "application/json")
        entries = {path: offset for path, offset in signed.items() if offset is not None}
        assert entries, f"expected a signed loader on the EFI system partition, found {sorted(signed) or 'none'}"
        for path, offset in entries.items():
            zeros = f'dd if=/dev/zero of="$disk$1" bs=1 seek={offset} count=8 conv=notrunc 2>/dev/null && sync'
            fresh_guest.check(("sh", "-c", f"{_ON_PARTITION}\n{zeros}", "sh", path))
    with step("reset"):
        fresh_guest.reset()
        said = fresh_guest.console.wait_for(
            re.compile(_REFUSED.pattern + b"|" + _STARTED.pattern), Deadline.after(boot_bounds().firmware_s)
        )
    assert _REFUSED.search(said[0]), (
        f"expected the firmware to refuse a loader without a signature, the console shows {said[0].decode()!r}; "
        "see the console log"
    )
