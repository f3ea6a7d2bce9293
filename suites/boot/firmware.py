"""What a guest tells about the firmware that started it, and how a signed EFI program is made an unsigned one."""

from __future__ import annotations

from dataclasses import dataclass

_EFIVARS = "/sys/firmware/efi/efivars"
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""EFI_GLOBAL_VARIABLE (UEFI 2.10, section 3.3)."""

READ_FIRMWARE = f"""
[ -d /sys/firmware/efi ] || {{ echo bios; exit 0; }}
echo uefi
folder={_EFIVARS}
if ! [ -e "$folder/SecureBoot-{_GLOBAL}" ]; then
    folder=$(mktemp -d) && mount -t efivarfs -o ro efivarfs "$folder" || exit 3
    trap 'umount "$folder"; rmdir "$folder"' EXIT
fi
for name in SecureBoot SetupMode; do
    [ -e "$folder/$name-{_GLOBAL}" ] && echo "$name" $(od -An -v -tu1 "$folder/$name-{_GLOBAL}")
done
exit 0
"""
"""Prints "bios", or "uefi" and each variable with its bytes; efivarfs is mounted for the reading where it is not. Status 3:
it cannot be."""

_SECURITY_DIRECTORY = {0x10B: 128, 0x20B: 144}
"""Where in the optional header of PE32 and PE32+ the entry of the certificate table is (PE format, "Optional Header")."""


@dataclass(frozen=True, slots=True)
class FirmwareReading:
    """Whether UEFI firmware started the guest, and its variables SecureBoot and SetupMode (None: there is no such one)."""

    uefi: bool
    secure_boot: bool | None
    setup_mode: bool | None


def parse_firmware(text: str) -> FirmwareReading:
    """Read what READ_FIRMWARE prints. A variable's value follows four bytes of attributes (efivarfs). Raises ValueError."""
    lines = text.split("\n")
    if lines[0] not in {"bios", "uefi"}:
        raise ValueError(f"expected bios or uefi, got {text[:100]!r}")
    values: dict[str, bool] = {}
    for words in map(str.split, lines[1:]):
        if words:
            if len(words) != 6:
                raise ValueError(f"expected five bytes of {words[0]}, got {' '.join(words[1:])!r}")
            values[words[0]] = words[5] == "1"
    return FirmwareReading(lines[0] == "uefi", values.get("SecureBoot"), values.get("SetupMode"))


def judge_firmware(reading: FirmwareReading, asked: str) -> str | None:
    """What is wrong with `reading` where the guest's entry asks for firmware `asked`; None when nothing is."""
    seen = "uefi" if reading.uefi else "bios"
    if (asked != "bios") != reading.uefi:
        return f"expected {asked} firmware, the guest was started by {seen}"
    secure = asked == "uefi-secure-boot"
    if reading.uefi and bool(reading.secure_boot) is not secure:
        shown = {True: "on", False: "off", None: "unknown to it"}[reading.secure_boot]
        return f"expected Secure Boot to be {'on' if secure else 'off'}, the firmware says that it is {shown}"
    if secure and reading.setup_mode:
        return "expected Secure Boot with enrolled keys, the firmware is in setup mode: anybody may enrol one"
    return None


def certificate_entry(head: bytes) -> int | None:
    """Where in an EFI program, whose first bytes are `head`, eight bytes say where its signature is; None: it has none.

    With zeros there the program is the same, unsigned. Raises ValueError for what is no EFI program.
    """
    start = int.from_bytes(head[60:64], "little")
    if head[:2] != b"MZ" or head[start : start + 4] != b"PE\0\0" or len(head) < start + 24 + 152:
        raise ValueError("is no EFI program")
    optional = start + 24
    within = _SECURITY_DIRECTORY.get(int.from_bytes(head[optional : optional + 2], "little"))
    if within is None:
        raise ValueError("is no EFI program")
    offset = optional + within
    return offset if any(head[offset : offset + 8]) else None
