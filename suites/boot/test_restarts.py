"""Does the guest go down and come up again, the gentle ways and the hard one?"""

from __future__ import annotations

import pytest

from fixtures.deadline import Deadline
from fixtures.guest import Guest, State
from suites.boot.bounds import boot_bounds
from suites.boot.kernel_log import unclean_file_systems
from suites.fixture_types import Attach, OpenStep
from suites.persistence import FILE_SYSTEM_LOGS, checksum_snippet, reboot_from_inside, store_random_data
from suites.reading.batch import run_batch
from suites.reading.procfs import parse_mounts

# File systems that must say that they replayed their journal after a hard reset, and do (fs/ext4/super.c or e2fsck,
# fs/xfs/xfs_log_recover.c).
_SAY_REPLAY = frozenset({"ext3", "ext4", "xfs"})


def test_reboot_from_inside(fresh_guest: Guest) -> None:
    """The guest's own reboot command restarts it.

    Preconditions: the login user may reboot.
    Steps: note the boot id; run `reboot` inside; wait until ready again.
    Expected: the guest is ready with another boot id.
    """
    before = reboot_from_inside(fresh_guest)
    after = fresh_guest.boot_id()
    assert after != before, f"expected a new boot id after reboot, it is still {before}; see the console log"
    assert fresh_guest.state is State.READY, f"expected the guest to be ready after reboot, it is {fresh_guest.state}"


@pytest.mark.requires("linux")
def test_hard_reset(fresh_guest: Guest, attach: Attach, step: OpenStep) -> None:
    """The guest survives the reset line with everything it had fsynced.

    Preconditions: the root file system is on a disk.
    Steps: write random data and fsync it; start writing without fsync; reset; wait until ready again.
    Expected: another boot id; the journal was replayed; the file system is writable; the fsynced data is the same.
    """
    with step("write and fsync data, leave a writer running"):
        data = store_random_data(fresh_guest, "fsynced", boot_bounds().fsynced_blocks)
        before = fresh_guest.boot_id()
        said_before = len(fresh_guest.console_text())
        fresh_guest.check(
            (
                "sh",
                "-c",
                f"(trap '' HUP; while :; do echo unsynced >> {data.path}.unsynced; done) </dev/null >/dev/null 2>&1 &",
            )
        )
    with step("reset"):
        fresh_guest.reset()
        fresh_guest.wait_for_reboot(before)
    with step("look at the data"):
        batch = run_batch(
            fresh_guest,
            {"sum": checksum_snippet(data), "mounts": "cat /proc/mounts", "logs": FILE_SYSTEM_LOGS},
            timeout=60,
        )
    logs = batch["logs"].text + fresh_guest.console_text()[said_before:]
    attach("file-system-logs.txt", batch["logs"].text)
    assert fresh_guest.boot_id() != before, f"expected a new boot id after a reset, it is still {before}"
    mount = next(mount for mount in reversed(parse_mounts(batch["mounts"].text)) if mount.target == data.mount.target)
    assert "rw" in mount.options, (
        f"expected {mount.target} to be writable after a reset, it is mounted {sorted(mount.options)}"
    )
    seen = batch["sum"].word.partition(" ")[0]
    assert seen == data.sha256, (
        f"expected fsynced {data.path} to have SHA-256 {data.sha256} after a reset, got {seen or batch.error_text.strip()!r}; "
        "see file-system-logs.txt"
    )
    if data.mount.filesystem in _SAY_REPLAY:
        assert unclean_file_systems(logs), (
            f"expected {data.mount.filesystem} on {mount.target} to say that it replayed its journal, nothing does; "
            "see file-system-logs.txt"
        )


@pytest.mark.requires("acpi", "linux")
def test_acpi_shutdown(fresh_guest: Guest, attach: Attach, step: OpenStep) -> None:
    """The power button shuts the guest down cleanly.

    Preconditions: the hypervisor has a power button and the guest listens to it.
    Steps: press the power button; wait until the domain is shut off; power on again.
    Expected: shut off before the deadline; another boot id; no file system has to be recovered at the next boot.
    """
    deadline = Deadline.after(boot_bounds().acpi_shutdown_s)
    before = fresh_guest.boot_id()
    with step("press the power button"):
        fresh_guest.request_shutdown()
        fresh_guest.wait_for_shutdown(deadline)
    assert fresh_guest.state is State.DEFINED, (
        f"expected the domain to be shut off within {deadline.span:g} s, the guest is {fresh_guest.state}; see the console log"
    )
    with step("power on again"):
        fresh_guest.start()
    logs = run_batch(fresh_guest, {"logs": FILE_SYSTEM_LOGS}, timeout=60)["logs"].text
    attach("file-system-logs.txt", logs)
    assert fresh_guest.boot_id() != before, f"expected a new boot id after power-on, it is still {before}"
    unclean = unclean_file_systems(logs)
    assert not unclean, (
        f"expected clean file systems at the boot after an ACPI shutdown, found {'; '.join(unclean[:3])}; "
        "see file-system-logs.txt"
    )
