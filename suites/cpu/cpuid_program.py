"""A program of a few bytes that asks the guest's CPU itself who the hypervisor is.

No tool that every guest has can tell: /dev/cpu/*/cpuid needs a module, and Linux, lscpu and systemd-detect-virt name
only the hypervisors they know. CPUID is not privileged, so an ELF file without any library does. In assembly:

    cpuid(1);          store ecx                  (bit 31: there is a hypervisor)
    cpuid(0x40000000); store ebx, ecx, edx        (its signature)
    cpuid(0x40000100); store ebx, ecx, edx        (Xen's and KVM's signature while Hyper-V's is shown above)
    write(1, stored, 28); exit(0)

A paravirtual Xen guest runs on the bare CPUID; there the instruction is announced to Xen by `ud2; .ascii "xen"`
(XEN_EMULATE_PREFIX of xen/include/public/arch-x86/xen.h), which is an illegal instruction anywhere else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_CPUID = b"\x0f\xa2"
_XEN_PREFIX = b"\x0f\x0bxen"
_HYPERVISOR_PRESENT = 1 << 31
_RESULT = struct.Struct("<I12s12s")


@dataclass(frozen=True, slots=True)
class CpuidReading:
    """What the CPU says: whether there is a hypervisor, and the signatures it goes by, most specific last."""

    hypervisor_present: bool
    signatures: tuple[str, ...]


def cpuid_program(*, announced_to_xen: bool = False) -> bytes:
    """A static x86-64 ELF file that prints 28 bytes for `parse_cpuid`."""
    cpuid = (_XEN_PREFIX if announced_to_xen else b"") + _CPUID
    ask = b"\x31\xc9" + cpuid  # xor ecx, ecx; cpuid
    code = (
        b"\x48\x83\xec\x40"  # sub rsp, 64
         b"\xb8\x01\x00\x00\x00" + ask  # mov eax, 1
        + b"\x89\x0c\x24"  # mov [rsp], ecx
        + b"\xb8\x00\x00\x00\x40" + ask  # mov eax, 0x40000000
        + b"\x89\x5c\x24\x04\x89\x4c\x24\x08\x89\x54\x24\x0c"  # mov [rsp+4], ebx; [rsp+8], ecx; [rsp+12], edx
        + b"\xb8\x00\x01\x00\x40" + ask  # mov eax, 0x40000100
        + b"\x89\x5c\x24\x10\x89\x4c\x24\x14\x89\x54\x24\x18"  # mov [rsp+16], ebx; [rsp+20], ecx; [rsp+24], edx
        + b"\xb8\x01\x00\x00\x00\xbf\x01\x00\x00\x00\x48\x89\xe6\xba\x1c\x00\x00\x00\x0f\x05"  # write(1, rsp, 28)
        + b"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"  # exit(0)
    )  # fmt: skip
    base, headers = 0x400000, 64 + 56
    # ELF-64 header and one loadable, executable segment: elf(5).
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )  # fmt: skip
    size = headers + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code


def parse_cpuid(output: bytes) -> CpuidReading | None:
    """What the program printed; None when that is not what it prints."""
    if len(output) != _RESULT.size:
        return None
    flags, first, second = _RESULT.unpack(output)
    present = bool(flags & _HYPERVISOR_PRESENT)
    texts = [_signature(raw) for raw in (first, second)] if present else []
    # A leaf that the CPU has not repeats another's data, which is no text or the same text.
    return CpuidReading(present, tuple(dict.fromkeys(text for text in texts if text)))


def run_program_snippet(program: bytes) -> str:
    """A POSIX shell snippet that writes `program` where files may be executed, runs it and removes it."""
    octal = "".join(f"\\{byte:03o}" for byte in program)
    return (
        'for folder in /run /tmp /var/tmp /dev/shm "$HOME" .; do\n'
        '  program=$(mktemp "$folder/guestcert-XXXXXX" 2>/dev/null) || continue\n'
        f'  printf \'{octal}\' > "$program" && chmod 700 "$program" && "$program"; status=$?\n'
        '  rm -f "$program"\n'
        "  [ $status = 0 ] && exit 0\n"
        "done\nexit 126"
    )


def _signature(raw: bytes) -> str:
    text = raw.rstrip(b"\0")
    return text.decode("ascii") if text and all(32 <= byte < 127 for byte in text) else ""
