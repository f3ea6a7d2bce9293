"""Is everything well after the boot?"""

from __future__ import annotations

import pytest

from fixtures.guest import Guest
from suites.boot.bounds import boot_bounds
from suites.boot.kernel_log import begins_at_boot, judge_kernel_log, judge_taint, shipped_bounds
from suites.boot.units import SERVICE_REPORTS
from suites.fixture_types import Attach
from suites.reading.batch import run_batch


def test_units_healthy(guest: Guest, attach: Attach) -> None:
    """No service of the guest failed.

    Preconditions: an init system that can tell of failed services (systemd, OpenRC, sysvinit).
    Steps: wait until the boot's jobs are done; ask the init system for failed and crashed services.
    Expected: there are none.
    """
    report = SERVICE_REPORTS.get(guest.spec.init)
    if report is None:
        pytest.skip(f"init {guest.spec.init} keeps no record of failed services")
    batch = run_batch(guest, {"settle": report.settle, "listing": report.listing}, timeout=boot_bounds().settle_s)
    assert batch["listing"].status == 0, (
        f"expected {guest.spec.init} to list its services, `{report.listing}` ended with status "
        f"{batch['listing'].status}: {batch.error_text.strip()[-300:]}"
    )
    failed = report.failed(batch["listing"].text)
    if failed:
        attach("failed-services.txt", guest.run((*report.detail, *failed)).text)
    assert not failed, (
        f"expected no failed service, {guest.spec.init} reports {', '.join(failed)}; see failed-services.txt"
    )


@pytest.mark.requires("linux")
def test_kernel_log_clean(guest: Guest, attach: Attach) -> None:
    """The kernel has nothing to complain about.

    Preconditions: the login user may read the kernel log.
    Steps: read the kernel's ring buffer and taint flags.
    Expected: no oops, BUG, warning, call trace, lockup, hung task, machine check, I/O or file system error; the kernel is not
    tainted. What the guest's catalogue entry excuses by pattern and reason is left out.
    """
    batch = run_batch(guest, {"log": "dmesg", "taint": "cat /proc/sys/kernel/tainted"})
    log = batch["log"].text
    attach("kernel-log.txt", log)
    assert batch["log"].status == 0, (
        f"expected dmesg to print the kernel log, it failed: {batch.error_text.strip()[-300:]}"
    )
    exceptions, bounds = guest.spec.kernel_log_exceptions, shipped_bounds()
    findings = judge_kernel_log(log, exceptions, bounds)
    if not begins_at_boot(log):
        # The ring buffer has wrapped; what fell out of it went to the console first.
        findings += judge_kernel_log(guest.console_text(), exceptions, bounds)
    assert not findings, (
        f"expected a clean kernel log, found {len(findings)}: "
        f"{'; '.join(str(finding) for finding in findings[:3])}; see kernel-log.txt"
    )
    taints = judge_taint(batch["taint"].text, exceptions, bounds)
    assert not taints, f"expected an untainted kernel, found {'; '.join(map(str, taints))}; see kernel-log.txt"
