"""A runner for the shell snippets of probes: this machine's own shell, or busybox's, in the place of a guest's."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from fixtures.channels.protocol import Completed


@dataclass(frozen=True)
class LocalShell:
    """Runs `sh` commands here; with `busybox` by busybox's shell with its own tools before all others."""

    busybox: bool = False

    def run(self, argv: Sequence[str], timeout: float = 30.0, stdin: bytes = b"") -> Completed:
        command = ["busybox", *argv] if self.busybox else list(argv)
        started = time.monotonic()
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr, time.monotonic() - started)
