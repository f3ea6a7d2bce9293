"""Kernels of a few bytes that QEMU starts in a second: each does what an installer might do, and nothing else.

Flat multiboot images (Multiboot Specification 0.6.96): QEMU loads them at 1 MiB and jumps in, in 32-bit protected mode.
"""

from __future__ import annotations

import struct

_LOADED_AT = 0x100000
_HEADER_BYTES = 32
_MAGIC = 0x1BADB002
_ADDRESSES_GIVEN = 1 << 16

POWER_OFF = bytes.fromhex("66ba0406 66b80020 66ef")
"""mov $0x604,%dx; mov $0x2000,%ax; out %ax,%dx: ACPI's S5 where q35's firmware has the PM1 control register."""
RESET = bytes.fromhex("b0fe e664")
"""mov $0xfe,%al; out %al,$0x64: the keyboard controller pulls the reset line."""
HALT = bytes.fromhex("fa f4 ebfd")
"""cli; 1: hlt; jmp 1b."""


REAL_MODE_POWER_OFF = bytes.fromhex("ba0406 b80020 ef")
"""The same in 16-bit mode, in which a boot sector runs."""


def real_mode_say(text: bytes, port: int = 0x3F8) -> bytes:
    """As `say`, in 16-bit mode."""
    return say(text, port)[1:]


def say(text: bytes, port: int = 0x3F8) -> bytes:
    """Write `text` to the serial port at I/O address `port`: mov $port,%dx, then mov $byte,%al; out %al,(%dx) for each."""
    return b"\x66\xba" + struct.pack("<H", port) + b"".join(b"\xb0" + bytes([byte]) + b"\xee" for byte in text)


def word(text: bytes) -> bytes:
    """Write `text` to the second serial port."""
    return say(text, 0x2F8)


def first_time(*steps: bytes) -> bytes:
    """Do `steps` unless they were done before the last reset, which memory outlives.

    cmpl $seen,place; je past the steps; movl $seen,place.
    """
    place_and_word = struct.pack("<II", 0x200000, 0x6E656573)
    body = b"\xc7\x05" + place_and_word + b"".join(steps)
    return b"\x81\x3d" + place_and_word + b"\x0f\x84" + struct.pack("<i", len(body)) + body


def kernel(*steps: bytes) -> bytes:
    """The image of a kernel that does `steps` in order; the last one must not come back."""
    entry = _LOADED_AT + _HEADER_BYTES
    checksum = -(_MAGIC + _ADDRESSES_GIVEN) & 0xFFFFFFFF
    # header, load begin, load end (0: all of it), end of zeroes (0: none), entry
    header = struct.pack("<8I", _MAGIC, _ADDRESSES_GIVEN, checksum, _LOADED_AT, _LOADED_AT, 0, 0, entry)
    return header + b"".join(steps)
