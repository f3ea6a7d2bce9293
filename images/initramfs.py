"""Initramfs archives written here: busybox, modules and a few files (newc, Documentation/driver-api/early-userspace/buffer-format.rst)."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from images.kernel_parts import KernelParts

_SCRIPTS = Path(__file__).resolve().parent / "busybox"
_FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "newroot")
_MINIMAL_SCRIPTS = {
    "inittab": "etc/inittab",
    "rc": "etc/rc",
    "console": "sbin/console",
    "network": "sbin/network",
    "dhcp": "etc/udhcpc.script",
    # Where busybox's acpid looks for what to do about the power button.
    "power-off": "etc/acpi/PWRF/00000080",
}


@dataclass(frozen=True)
class _Node:
    """A folder, file, link or device of the archive; `device` is (major, minor)."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def write_minimal(target: Path, parts: KernelParts, modules: Iterable[str], hostname: str) -> None:
    """The whole of a small system: busybox as init, a login prompt on the console for root, without a password."""
    files = {
        "etc/hostname": f"{hostname}\n",
        "etc/passwd": "root::0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\ntty:x:5:\n",
        "etc/issue": "",
        "etc/os-release": (
            'ID=guestcert-minimal\nNAME="busybox on a Debian kernel"\nPRETTY_NAME="busybox on a Debian kernel"\nVERSION_ID="1"\n'
        ),
    }
    nodes = [_Node(path, stat.S_IFREG | 0o644, text.encode()) for path, text in files.items()]
    nodes += [_Node(folder, stat.S_IFDIR | 0o755) for folder in ("etc/acpi", "etc/acpi/PWRF")]
    nodes += [_script(name, path) for name, path in _MINIMAL_SCRIPTS.items()]
    nodes += [_Node(path, stat.S_IFLNK | 0o777, b"/bin/busybox") for path in ("init", "sbin/init")]
    _write(target, parts, modules, nodes)


def write_root_finder(target: Path, parts: KernelParts, modules: Iterable[str]) -> None:
    """What mounts the root file system that the kernel command line names, and starts its init."""
    _write(target, parts, modules, [_script("find-root", "init")])


def add_files(initrd: Path, files: Mapping[str, bytes]) -> None:
    """Append `files` (by path) to an initrd, however it is packed: the kernel unpacks archives one after the other.

    Only root of the system that is booted may read them.
    """
    folders = {parent for name in files for parent in PurePosixPath(name).parents if parent.parts}
    nodes = [_Node(str(folder), stat.S_IFDIR | 0o755) for folder in sorted(folders)]
    nodes += [_Node(name, stat.S_IFREG | 0o600, content) for name, content in files.items()]
    with initrd.open("ab") as file:
        _pad(file)
        _archive(file, nodes)


def _script(name: str, path: str) -> _Node:
    return _Node(path, stat.S_IFREG | 0o755, (_SCRIPTS / name).read_bytes())


def _write(target: Path, parts: KernelParts, modules: Iterable[str], nodes: Iterable[_Node]) -> None:
    ordered = parts.modules_in_order(modules)
    drivers = [_Node(f"modules/{PurePosixPath(name).name}", stat.S_IFREG | 0o644, parts.read(name)) for name in ordered]
    order = "".join(f"/modules/{PurePosixPath(name).name}\n" for name in ordered)
    everything = [
        *(_Node(name, stat.S_IFDIR | (0o1777 if name == "tmp" else 0o755)) for name in (*_FOLDERS, "modules")),
        # The kernel opens it for /init before anything is mounted.
        _Node("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        _Node("bin/busybox", stat.S_IFREG | 0o755, parts.busybox),
        _Node("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
        *drivers,
        _Node("modules/order", stat.S_IFREG | 0o644, order.encode()),
        *nodes,
    ]
    with target.open("wb") as file:
        _archive(file, everything)


def _archive(file: BinaryIO, nodes: Iterable[_Node]) -> None:
    for number, node in enumerate(nodes, 1):
        _entry(file, node, number)
    _entry(file, _Node("TRAILER!!!", 0), 0)


def _entry(file: BinaryIO, node: _Node, inode: int) -> None:
    name = node.path.encode() + b"\0"
    # ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    fields = (inode, node.mode, 0, 0, 1, 0, len(node.data), 0, 0, *node.device, len(name), 0)
    file.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
    _pad(file)
    file.write(node.data)
    _pad(file)


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % 4))
