"""What a kernel log is judged by: every kind of trouble is found, and nothing else is."""

from __future__ import annotations

import re

import pytest

from matrix.model import KernelLogException
from suites.boot.kernel_log import (
    begins_at_boot,
    judge_kernel_log,
    judge_taint,
    message_of,
    shipped_bounds,
    unclean_file_systems,
)

CLEAN = """\
[    0.000000] Linux version 6.1.0-18-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1
[    0.000000] Command line: root=/dev/vda2 console=ttyS0
[    0.012345] Spectre V2 : Mitigation: Retpolines
[    0.100000] mce: CPU supports 10 MCE banks
[    0.200000] NMI watchdog: Perf NMI watchdog permanently disabled
[    0.300000] rcu: RCU calculated value of scheduler-enlistment delay is 25 jiffies.
[    0.400000] ERST DBG: ERST support is disabled.
[    0.500000] blk_update_request: I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0
[    1.000000] EXT4-fs (vda2): mounted filesystem with ordered data mode. Quota mode: none.
[    2.000000] EXT4-fs (vda2): re-mounted. Errors: remount-ro
"""

BAD = {
    "BUG": "[    3.1] BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "oops": "[    3.123456] Oops: 0002 [#1] PREEMPT SMP NOPTI",
    "panic": "<0>[    3.123456] Kernel panic - not syncing: VFS: Unable to mount root fs",
    "warning": "[    3.123456][    T1] WARNING: CPU: 0 PID: 1 at kernel/sched/core.c:1 x+0x1/0x2",
    "call trace": "[    3.123456] Call Trace:",
    "soft or hard lockup": "[   48.123456] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [sh:1]",
    "RCU stall": "[   48.123456] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "hung task": "[  243.123456] INFO: task kworker/0:1:12 blocked for more than 120 seconds.",
    "machine check": "[    3.123456] mce: [Hardware Error]: Machine check events logged",
    "I/O error": "[    3.123456] I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",
    "file system error": "[    3.123456] EXT4-fs error (device vda2): ext4_lookup:1855: inode #2: comm ls: iget: checksum invalid",
    "out of memory": "[    3.123456] Out of memory: Killed process 123 (stress)",
    "bad page": "[    3.123456] swapper/0: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)",
}


def test_a_clean_log_has_no_findings() -> None:
    assert judge_kernel_log(CLEAN, (), shipped_bounds()) == []


@pytest.mark.parametrize("kind", BAD)
def test_each_trouble_is_found(kind: str) -> None:
    findings = judge_kernel_log(CLEAN + BAD[kind] + "\n", (), shipped_bounds())
    assert [(finding.kind, finding.line) for finding in findings] == [(kind, BAD[kind])]


def test_every_shipped_pattern_has_an_example() -> None:
    bounds = shipped_bounds()
    assert {finding.name for finding in bounds.findings} == set(BAD)
    for finding in bounds.findings:
        assert re.search(finding.pattern, message_of(BAD[finding.name])), finding.name


def test_an_exception_covers_its_line_only() -> None:
    excused = KernelLogException(pattern="dev vda, sector 2048", reason="test")
    log = BAD["I/O error"] + "\n" + BAD["I/O error"].replace("2048", "4096") + "\n"
    assert [finding.line for finding in judge_kernel_log(log, (excused,), shipped_bounds())] == [
        BAD["I/O error"].replace("2048", "4096")
    ]


def test_taint() -> None:
    bounds = shipped_bounds()
    assert judge_taint("0\n", (), bounds) == []
    assert [finding.line for finding in judge_taint("4609\n", (), bounds)] == [
        "taint 0: proprietary module",
        "taint 9: warning",
        "taint 12: out-of-tree module",
    ]
    excused = KernelLogException(pattern="^taint 12: ", reason="the vendor's own driver")
    assert [finding.line for finding in judge_taint("4096\n", (excused,), bounds)] == []
    assert judge_taint(str(1 << 40), (), bounds)[0].line == "taint 40: unknown"


def test_a_wrapped_log_is_known() -> None:
    assert begins_at_boot(CLEAN)
    assert not begins_at_boot("\n".join(CLEAN.splitlines()[1:]))


@pytest.mark.parametrize(
    "line",
    [
        "[    2.1] EXT4-fs (vda2): recovery complete",
        "/dev/vda2: recovering journal",
        "[    2.1] XFS (vda2): Starting recovery (logdev: internal)",
        "[    2.1] FAT-fs (vda1): Volume was not properly unmounted. Some data may be corrupt. Please run fsck.",
        "[    2.1] EXT4-fs (vda2): 2 orphan inodes deleted",
    ],
)
def test_unclean_file_systems_are_told(line: str) -> None:
    assert unclean_file_systems(CLEAN + line) == [line]


def test_clean_file_systems_are_not() -> None:
    assert unclean_file_systems(CLEAN + "guestcert-root: clean, 31234/131072 files, 250000/524288 blocks\n") == []
