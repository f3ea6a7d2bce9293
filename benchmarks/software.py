"""All of a guest's cells in the software lab in one run, against its cell on this machine alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.certified_run import guestcert, run, timed_run
from matrix.places import cache_dir

_GUEST = "debian-12"
_ALONE = f"{_GUEST}+qemu-tcg+none"
_SMOKE = ("--hosts", "software", "--profile", "smoke")


def measure() -> dict[str, float]:
    """Seconds: `software_s` of `guestcert run --hosts software --guest debian-12 --profile smoke`, `alone_s` of its
    `qemu-tcg` cell alone, both with images there and lab hosts measured, and their ratio `over_alone`.

    Raises NotMeasured.
    """
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache_dir()) as folder:
        # All that is made only once is there then: images, the lab hosts' checkpoints and what they can do, the guest's checkpoint.
        guestcert("hosts", "probe", "software")
        run(Path(folder, "warming"), *_SMOKE, "--cell", _ALONE, "-k", "os_identity")
        alone = timed_run(Path(folder, "alone"), *_SMOKE, "--cell", _ALONE)
        software = timed_run(Path(folder, "measured"), *_SMOKE, "--guest", _GUEST)
    return {"software_s": software, "alone_s": alone, "over_alone": software / alone}
