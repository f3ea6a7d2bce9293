"""Programs of a newer Debian than the machine may run: packages unpacked into the cache, run from there by their own loader.

    programs/NAME/        the packages' files, below usr/ and etc/; written under another name and then renamed
    programs/NAME.lock    held by whoever makes it
    programs/NAME.use     held, as one of many, by every process that obtained it, for as long as that lives

What is there stays as it is: the packages of a later day, with their fixes, come when it was removed (`remove_unused`).
Nothing is installed, nothing is run as root, and the machine's own libraries are not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from images.command import run
from images.faults import ImageFault
from images.locking import UseLock
from images.tree import extract_packages
from images.workspace import remove_tree
from matrix.places import write_whole

_VERSION = 1
"""Part of the key: raise it when the code here changes what comes out."""

_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = ("usr/lib/x86_64-linux-gnu",)
_SCRIPTS = "scripts"
_USE = ".use"
_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class ProgramFolder:
    """Unpacked packages in `root`, which nobody removes while they are `held`: until the process ends, as nobody releases them."""

    root: Path
    held: UseLock | None = field(default=None, compare=False, repr=False)

    def command(self, program: str, *libraries: str) -> list[str]:
        """The words that start the program at the path `program` in there, with `libraries` (folders) on its search path."""
        folders = os.pathsep.join(str(self.root / folder) for folder in (*_LIBRARIES, *libraries))
        return [str(self.root / _LOADER), "--library-path", folders, str(self.root / program)]

    def script(self, program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Path:
        """A script of the name of `program`, for those who know a program by its path only.

        It puts `arguments` before its own and sets `environment`. It names everything in here from its own place: a cache has
        other paths for other users (a link, a mount), and they share the script. Raises ImageFault.
        """
        name = Path(program).name
        loader, *words = map(self._from_script, self.command(program))
        settings = [f"export {variable}={self._from_script(value)}" for variable, value in environment.items()]
        called = " ".join([loader, "--argv0", shlex.quote(name), *words, *map(self._from_script, arguments)])
        text = "\n".join(
            ["#!/bin/sh", 'root=$(CDPATH="" cd -- "${0%/*}/.." && pwd)', *settings, f'exec {called} "$@"', ""]
        )
        path = self.root / _SCRIPTS / name
        try:
            if not path.exists() or path.read_text() != text:  # whoever asks for it often finds the same file
                path.parent.mkdir(exist_ok=True)
                write_whole(path, text, 0o755)
        except OSError as error:
            raise ImageFault(f"{path}: cannot be written: {error.strerror or error}") from error
        return path

    def _from_script(self, word: str) -> str:
        """`word` as the script says it: what is special to a shell between double quotes escaped, this folder as $root."""

        def escaped(text: str) -> str:
            return re.sub(r'([\\"$`])', r"\\\1", text)

        return f'"{escaped(word).replace(escaped(str(self.root)), "$root")}"'


def obtain_programs(
    cache_dir: Path, suite: str, packages: Sequence[str], report: Callable[[str], None] | None = None
) -> ProgramFolder:
    """The folder with `packages` of Debian's `suite` and what they depend on; from the cache if it is there.

    `report` is told when it is not, for fetching them takes a while. Packages are verified by apt with the Debian archive
    keys. Raises ImageFault.
    """
    wanted = json.dumps([_VERSION, suite, sorted(packages)])
    folder = cache_dir / "programs" / f"{packages[0]}-{suite}-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    try:
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                if report is not None:
                    report(f"unpacking {packages[0]} of Debian {suite} into the cache (once)")
                _make(folder, suite, packages)
            held = UseLock.shared(folder.with_suffix(_USE))
    except OSError as error:
        raise ImageFault(f"{folder}: cannot be made: {error.strerror or error}") from error
    return ProgramFolder(folder, held)


def remove_unused(cache_dir: Path, older_than: float) -> tuple[list[str], int]:
    """Remove the folders that no process uses and that were made at least `older_than` days ago; their names, bytes freed.

    Raises ImageFault.
    """
    removed, freed = [], 0
    try:
        for lock in sorted((cache_dir / "programs").glob("*.lock")):
            folder = lock.with_suffix("")
            try:
                with FileLock(lock, timeout=0):
                    freed += _sweep(folder)
                    old = folder.exists() and time.time() - folder.stat().st_mtime >= older_than * _DAY
                    alone = UseLock.exclusive(folder.with_suffix(_USE)) if old else None
                    if alone is not None:
                        # Half of it must never be taken for the whole.
                        folder.rename(folder.with_name(f".{folder.name}.gone"))
                        freed += _sweep(folder)
                        removed.append(folder.name)
                        alone.release()
            except Timeout:
                continue  # it is being made, or somebody is about to use it
    except OSError as error:
        raise ImageFault(f"{cache_dir / 'programs'}: cannot be pruned: {error.strerror or error}") from error
    return removed, freed


def _sweep(folder: Path) -> int:
    """Remove what is left of somebody who was killed while making or removing it; whoever calls holds its lock."""
    return sum(remove_tree(left) for left in folder.parent.glob(f".{folder.name}.*"))


def _make(folder: Path, suite: str, packages: Sequence[str]) -> None:
    _sweep(folder)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as work:
        archive, tree = Path(work) / "packages.tar", Path(work) / "tree"
        extract_packages(suite, packages, archive, Path(work) / "log")
        tree.mkdir()
        plain = ["--no-same-owner", "--no-same-permissions", "--exclude=./dev/*"]
        run(["tar", "--extract", "--file", str(archive), "--directory", str(tree), *plain])
        if not (tree / _LOADER).exists():
            raise ImageFault(f"the packages {', '.join(packages)} of {suite} have no {_LOADER}")
        os.utime(tree)  # its age is that of the copy, not of the packages
        tree.rename(folder)
