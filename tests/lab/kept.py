"""A lab host that is kept up by `guestcert lab`, and what our runtime folder holds of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from fixtures.options import CHECKOUT
from matrix.places import cache_dir
from tests.emulator_processes import emulators

SLOW = 900.0
"""Seconds: an image may have to be built first, and booted on a busy machine."""


class Kept:
    """`guestcert lab`, with a runtime folder of its own and the cache that everybody uses."""

    def __init__(self, runtime: Path, host: str) -> None:
        self.runtime, self.host = runtime, host
        # The same folder holds leases here and on the machine that is used: it has to be one that can be there, too.
        self.leases = Path("/dev/shm") / f"guestcert-leases-{runtime.parent.name}-{runtime.name}"  # noqa: S108 -- a new folder
        self.environment = {
            **os.environ,
            "GUESTCERT_RUNTIME_DIR": str(runtime),
            "GUESTCERT_CACHE_DIR": str(cache_dir()),
            "GUESTCERT_LEASE_DIR": str(self.leases),
            "PYTHONPATH": str(CHECKOUT),
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *words]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SLOW,
            check=False,
        )

    def up(self) -> dict[str, Any]:
        """Start the lab host; what `lab status --json` says of it then."""
        done = self.call("lab", "up", self.host)
        assert done.returncode == 0, done.stderr
        return self.status()

    def status(self) -> dict[str, Any]:
        (found,) = json.loads(self.call("lab", "status", "--json").stdout)
        assert isinstance(found, dict)
        return found

    def emulators(self) -> list[psutil.Process]:
        """QEMU processes that work in our runtime folder."""
        return emulators(f"{self.runtime}/")

    def kill(self) -> None:
        """End the machine that the lab host is as a power cut would; it is known among other guests by its memory."""
        memory = f"-m\0{self.status()['memory_mib']}\0".encode()
        (machine,) = [one for one in self.emulators() if memory in Path(f"/proc/{one.pid}/cmdline").read_bytes()]
        machine.kill()

    def console(self) -> str:
        """What the lab host has said on its console."""
        (log,) = self.runtime.glob(f"*/{self.host}/console.log")
        return log.read_text(errors="replace")

    def left(self) -> list[str]:
        """Files and sockets in our runtime folder."""
        return [str(path.relative_to(self.runtime)) for path in self.runtime.rglob("*") if not path.is_dir()]

    def down(self) -> None:
        """End it, and clear up after whatever was done to it."""
        self.call("lab", "down")
        self.call("clean")
        assert self.emulators() == []
        shutil.rmtree(self.leases, ignore_errors=True)
