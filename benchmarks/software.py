"""All of a guest's cells in the software lab in one run, against its cell on this machine alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from matrix.places import cache_dir

_GUEST = "debian-12"
_ALONE = f"{_GUEST}+qemu-tcg+none"
_CERTIFIED = 0


def measure() -> dict[str, float]:
    """Seconds: `software_s` of `guestcert run --hosts software --guest debian-12 --profile smoke`, `alone_s` of its
    `qemu-tcg` cell alone, both with images there and lab hosts measured, and their ratio `over_alone`.

    Raises RuntimeError when one of them does not certify.
    """
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache_dir()) as folder:
        # All that is made only once is there then: images, the lab hosts' checkpoints and what they can do, the guest's checkpoint.
        _guestcert("hosts", "probe", "software")
        _run(Path(folder, "warming"), "--cell", _ALONE, "-k", "os_identity", certified=False)
        alone = _run(Path(folder, "alone"), "--cell", _ALONE)
        software = _run(Path(folder, "measured"), "--guest", _GUEST)
    return {"software_s": software, "alone_s": alone, "over_alone": software / alone}


def _run(out: Path, *options: str, certified: bool = True) -> float:
    """Seconds that it took, its launcher left out."""
    words = ["run", "--hosts", "software", "--profile", "smoke", *options, "--out", str(out)]
    begun = time.monotonic()
    status = _guestcert(*words)
    if certified and status != _CERTIFIED:
        raise RuntimeError(f"the run ended with exit status {status}; see `guestcert {' '.join(words)}`")
    return time.monotonic() - begun


def _guestcert(*words: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        check=False,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ).returncode
