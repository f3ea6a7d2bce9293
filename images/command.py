"""Run a host program as an argument list, with its output kept and its death tied to ours."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
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


_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
"""What a program says last of a file that it could not write."""

_CHUNK = 65536
_TAIL = 65536
"""Bytes at the end of a log in which the reason of a failure is looked for: programs go on about a full disk, and clean up."""


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
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run `argv` to its end and return its stdout.

    The child is killed when this process dies, even by SIGKILL: half-built images must not go on being built.
    Raises ImageFault with the last line of output if it fails.
    """
    full, variables = tied_to_us(argv), child_environment(environment)
    words = None if stdin is None else stdin.encode()
    try:
        done = subprocess.run(full, cwd=cwd, env=variables, input=words, capture_output=True, check=False)
    except OSError as error:
        raise _not_started(argv, error) from error
    output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    _judge(argv, done.returncode, errors or output)
    return output


def run_logged(argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """As `run`, with all output appended to `log`. On a full disk the log ends early, and the failure still says why."""
    full, variables = tied_to_us(argv), child_environment(environment)
    tail = b""
    try:
        with (
            log.open("ab", buffering=0) as sink,
            subprocess.Popen(full, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0) as child,
        ):
            try:
                while child.stdout is not None and (output := child.stdout.read(_CHUNK)):
                    tail = (tail + output)[-_TAIL:]
                    with suppress(OSError):
                        sink.write(output)
            except BaseException:
                child.kill()
                raise
    except OSError as error:
        raise _not_started(argv, error) from error
    _judge(argv, child.returncode, tail.decode(errors="replace"))


def _not_started(argv: Sequence[str], error: OSError) -> ImageFault:
    return ImageFault(f"cannot run {argv[0]}: {error.strerror or error}")


def _judge(argv: Sequence[str], status: int, said: str) -> None:
    if status != 0:
        raise ImageFault(f"{argv[0]} failed with status {status}: {_last_line(said)}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # mmdebstrap ends with its clean-up; what went wrong is the last line that says so, and a full disk what is behind that.
    full = [line for line in lines if line.endswith(_FULL)]
    errors = [line for line in lines if line.startswith(("E:", "error:", "Error"))]
    return (full or errors or lines or ["no message"])[-1][:400]
