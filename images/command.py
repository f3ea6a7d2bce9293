"""Run a host program as an argument list, with its output kept and its death tied to ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from images.faults import ImageFault

_PACKAGE_OF = {
    "debugfs": "e2fsprogs",
    "fakeroot": "fakeroot",
    "gpgv": "gpgv",
    "mcopy": "mtools",
    "mdir": "mtools",
    "mformat": "mtools",
    "mke2fs": "e2fsprogs",
    "mmd": "mtools",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "sfdisk": "fdisk",
    "syslinux": "syslinux",
    "tar": "tar",
    "unshare": "util-linux",
    "xorriso": "xorriso",
    "zstd": "zstd",
}
"""Debian package of every host program this room runs."""


def _search_path() -> str:
    # sbin is not on an ordinary user's PATH in Debian, but mke2fs and sfdisk live there.
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def find(program: str) -> str:
    """The absolute path of a host program. Raises ImageFault naming the package that brings it."""
    found = shutil.which(program, path=_search_path())
    if found is None:
        raise ImageFault(f"{program} is missing on this host; install the package {_PACKAGE_OF.get(program, program)}")
    return found


def tied_to_us(argv: Sequence[str]) -> list[str]:
    """`argv` as a command that is killed when this process dies, even by SIGKILL. Raises ImageFault."""
    return [find("setpriv"), "--pdeathsig", "KILL", "--", find(argv[0]), *argv[1:]]


def child_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a host program: messages in English that we may quote; file names that are not ASCII survive."""
    return {**os.environ, "PATH": _search_path(), "LC_ALL": "C.UTF-8", **(more or {})}


def run(
    argv: Sequence[str],
    *,
    log: Path | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run `argv` to its end and return its stdout (empty when it goes to `log`).

    The child is killed when this process dies, even by SIGKILL: half-built images must not go on being built.
    Raises ImageFault with the last line of output if it fails.
    """
    full, variables = tied_to_us(argv), child_environment(environment)
    try:
        if log is not None:
            with log.open("ab") as sink:
                done = subprocess.run(
                    full,
                    cwd=cwd,
                    env=variables,
                    input=None if stdin is None else stdin.encode(),
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            output, errors = "", _tail(log)
        else:
            done = subprocess.run(
                full,
                cwd=cwd,
                env=variables,
                input=None if stdin is None else stdin.encode(),
                capture_output=True,
                check=False,
            )
            output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    except OSError as error:
        raise ImageFault(f"cannot run {argv[0]}: {error.strerror or error}") from error
    if done.returncode != 0:
        raise ImageFault(f"{argv[0]} failed with status {done.returncode}: {_last_line(errors or output)}")
    return output


def _tail(log: Path, limit: int = 8192) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - limit))
        return file.read().decode(errors="replace")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # mmdebstrap ends with its clean-up; what went wrong is the last line that says so.
    errors = [line for line in lines if line.startswith(("E:", "error:", "Error"))]
    return (errors or lines or ["no message"])[-1][:400]
