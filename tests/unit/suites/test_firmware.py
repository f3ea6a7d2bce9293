"""Readings of the firmware, and the place of a signature, judged on good and on bad ones."""

from __future__ import annotations

import struct

import pytest

from suites.boot.firmware import FirmwareReading, certificate_entry, judge_firmware, parse_firmware

ON = "uefi\nSecureBoot 6 0 0 0 1\nSetupMode 6 0 0 0 0\n"


def test_what_a_guest_says_is_read() -> None:
    assert parse_firmware("bios\n") == FirmwareReading(uefi=False, secure_boot=None, setup_mode=None)
    assert parse_firmware(ON) == FirmwareReading(uefi=True, secure_boot=True, setup_mode=False)
    assert parse_firmware("uefi\n") == FirmwareReading(uefi=True, secure_boot=None, setup_mode=None)


@pytest.mark.parametrize("text", ["", "efi\n", "uefi\nSecureBoot 1\n", "uefi\nSecureBoot\n"])
def test_what_is_no_reading_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_firmware(text)


@pytest.mark.parametrize(
    ("text", "asked", "problem"),
    [
        ("bios", "bios", None),
        ("uefi", "uefi", None),
        (ON, "uefi-secure-boot", None),
        (ON.replace("0 0 0 1", "0 0 0 0"), "uefi", None),
        ("bios", "uefi", "expected uefi firmware, the guest was started by bios"),
        (ON, "bios", "expected bios firmware, the guest was started by uefi"),
        (ON, "uefi", "expected Secure Boot to be off, the firmware says that it is on"),
        ("uefi", "uefi-secure-boot", "expected Secure Boot to be on, the firmware says that it is unknown to it"),
        (
            ON.replace("0 0 0 1", "0 0 0 0"),
            "uefi-secure-boot",
            "expected Secure Boot to be on, the firmware says that it is off",
        ),
        (
            ON.replace("SetupMode 6 0 0 0 0", "SetupMode 6 0 0 0 1"),
            "uefi-secure-boot",
            "expected Secure Boot with enrolled keys, the firmware is in setup mode: anybody may enrol one",
        ),
    ],
)
def test_the_firmware_must_be_what_was_asked_for(text: str, asked: str, problem: str | None) -> None:
    assert judge_firmware(parse_firmware(text), asked) == problem


def program(magic: int, *, signed: bool) -> bytes:
    """The first bytes of an EFI program, as a linker writes them; certificates at 0x1000, 0x600 bytes long."""
    directories = 112 if magic == 0x20B else 96
    optional = bytearray(struct.pack("<H", magic).ljust(directories, b"\1") + bytes(16 * 8))
    if signed:
        struct.pack_into("<II", optional, directories + 4 * 8, 0x1000, 0x600)
    return (
        (b"MZ".ljust(60, b"\0") + struct.pack("<I", 0x80)).ljust(0x80, b"\0") + b"PE\0\0" + bytes(20) + bytes(optional)
    )


@pytest.mark.parametrize("magic", [0x10B, 0x20B])
def test_the_entry_of_the_signature_is_found(magic: int) -> None:
    head = program(magic, signed=True)
    at = certificate_entry(head.ljust(1024, b"\0"))
    assert at is not None
    assert struct.unpack_from("<II", head, at) == (0x1000, 0x600)
    assert certificate_entry(program(magic, signed=False).ljust(1024, b"\0")) is None


@pytest.mark.parametrize(
    "head", [b"", b"MZ", b"\x7fELF" * 256, b"MZ" + b"\xff" * 1022, program(0x107, signed=True).ljust(1024)]
)
def test_what_is_no_program_is_told(head: bytes) -> None:
    with pytest.raises(ValueError, match="no EFI program"):
        certificate_entry(head)
