"""The QEMU processes on this machine, told by what is in their command lines."""

from __future__ import annotations

import psutil


def emulators(word: str) -> list[psutil.Process]:
    """Those with `word` somewhere in an argument, whoever their parent is now: "guest=NAME," or a run's runtime folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "name"])
        # One that was unpacked into the cache runs by its own loader.
        if (process.info["name"] or "").startswith(("qemu", "ld-linux"))
        and any(word in argument for argument in process.info["cmdline"] or ())
    ]
