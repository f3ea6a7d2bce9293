"""A Debian kernel, its modules and a static busybox, taken out of their packages; nothing is installed or run.

The packages are verified by apt against the distribution's archive keys, as those of a built image are.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from images.faults import ImageFault
from images.forms import KernelPackage
from images.tree import extract

_RELEASE = re.compile(r"[A-Za-z0-9_.+~-]{1,64}")
_KERNEL = "boot/vmlinuz-"
_MODULE_ENDING = re.compile(r"\.ko(?:\.(?:xz|gz|zst))?$")


@dataclass(frozen=True)
class KernelParts:
    """An open archive of unpacked packages. Names are those in the archive, without "./"; `release` is `uname -r`."""

    tar: tarfile.TarFile
    members: dict[str, tarfile.TarInfo]
    release: str

    @property
    def kernel(self) -> str:
        """The kernel image."""
        return f"{_KERNEL}{self.release}"

    def read(self, name: str) -> bytes:
        """The content of a regular file. Raises ImageFault if there is none."""
        member = self.members.get(name)
        opened = self.tar.extractfile(member) if member is not None and member.isreg() else None
        if opened is None:
            raise ImageFault(f"the packages have no file {name}")
        return opened.read()

    def first(self, *names: str) -> str:
        """The first of `names` that is there. Raises ImageFault."""
        for name in names:
            if name in self.members:
                return name
        raise ImageFault(f"the packages have no {names[0]}")

    @property
    def busybox(self) -> bytes:
        """The static busybox."""
        return self.read(self.first("usr/bin/busybox", "bin/busybox"))

    @property
    def modules_folder(self) -> str:
        """The folder of this kernel's modules, with its indexes."""
        return self.first(f"usr/lib/modules/{self.release}", f"lib/modules/{self.release}")

    def modules_files(self) -> Iterator[str]:
        """Every regular file below the modules' folder."""
        folder = self.modules_folder + "/"
        return (name for name, member in self.members.items() if name.startswith(folder) and member.isreg())

    def has_module(self, name: str) -> bool:
        """Whether this kernel has a module, also one that is built in."""
        files, _, built_in = self._index
        return name.replace("-", "_") in built_in or name.replace("-", "_") in files

    def modules_in_order(self, wanted: Iterable[str]) -> list[str]:
        """The files of modules `wanted`, each after what it depends on; those built into the kernel are left out.

        Raises ImageFault for a module that this kernel does not have.
        """
        files, needs, built_in = self._index
        ordered: dict[str, None] = {}
        for each in wanted:
            name = each.replace("-", "_")
            if name in built_in:
                continue
            if name not in files:
                raise ImageFault(f"the kernel {self.release} has no module {each}")
            # modules.dep(5) lists what a module needs with the deepest last.
            for path in (*reversed(needs[files[name]]), files[name]):
                ordered[f"{self.modules_folder}/{path}"] = None
        return list(ordered)

    @cached_property
    def _index(self) -> tuple[dict[str, str], dict[str, list[str]], set[str]]:
        """Files by module, what each file needs, and the modules that are built in."""
        files: dict[str, str] = {}
        needs: dict[str, list[str]] = {}
        for line in self.read(f"{self.modules_folder}/modules.dep").decode("ascii").splitlines():
            path, _, rest = line.partition(":")
            files[module_name(path)] = path
            needs[path] = rest.split()
        built_in = self.read(f"{self.modules_folder}/modules.builtin").decode("ascii").splitlines()
        return files, needs, {module_name(line) for line in built_in}


def module_name(path: str) -> str:
    """The name of the module in a file, as lsmod prints it."""
    return _MODULE_ENDING.sub("", PurePosixPath(path).name).replace("-", "_")


def open_kernel_parts(kernel: KernelPackage, work: Path, log: Path, *more: str) -> KernelParts:
    """Fetch the kernel package, busybox-static and the packages `more` into `work`, and open what came.

    Raises ImageFault.
    """
    archive = work / "parts.tar"
    extract(kernel, [kernel.package, "busybox-static", *more], archive, log)
    tar = tarfile.open(archive)  # noqa: SIM115 -- stays open, as long as the parts are used
    members = {member.name.removeprefix("./").rstrip("/"): member for member in tar}
    releases = sorted(name.removeprefix(_KERNEL) for name in members if name.startswith(_KERNEL))
    if len(releases) != 1 or not _RELEASE.fullmatch(releases[0]):
        raise ImageFault(f"expected one kernel in {kernel.package}, found {', '.join(releases) or 'none'}")
    return KernelParts(tar, members, releases[0])
