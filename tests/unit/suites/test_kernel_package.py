"""Whose kernel runs: the judgement, and the commands in a real shell."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from suites.provenance.kernel_package import (
    KERNEL_COMMANDS,
    KernelReading,
    judge_kernel,
    kernel_prelude,
    kernel_snippets,
    parse_kernel,
)
from suites.reading.batch import run_batch
from tests.unit.suites.local_shell import LocalShell

GOOD = KernelReading(
    release="6.1.0-18-amd64",
    running="Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP Debian 6.1.76-1 (2024-02-01)",
    image="/boot/vmlinuz-6.1.0-18-amd64",
    image_version="6.1.0-18-amd64 (debian-kernel@lists.debian.org) #1 SMP Debian 6.1.76-1 (2024-02-01)",
    package="linux-image-6.1.0-18-amd64",
    vendor="Debian Kernel Team <debian-kernel@lists.debian.org>",
    verified=True,
    verification="boot/vmlinuz-6.1.0-18-amd64: OK",
)


def test_the_vendors_kernel() -> None:
    assert judge_kernel(GOOD, "Debian") == []
    assert judge_kernel(replace(GOOD, image_version=None, vendor=""), "Debian") == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"image": ""}, "there is none"),
        ({"package": ""}, "knows none that owns it"),
        ({"verified": False, "verification": "FAILED"}, "verification says FAILED"),
        ({"vendor": "Jo Bloggs <jo@example.org>"}, "made by Debian, it is by Jo Bloggs"),
        ({"running": GOOD.running.replace("6.1.76-1", "6.1.76-2")}, "another build"),
        ({"running": GOOD.running.replace("0-18", "0-180")}, "another build"),
    ],
)
def test_a_kernel_that_is_not(changed: dict[str, str], says: str) -> None:
    assert says in "; ".join(judge_kernel(replace(GOOD, **changed), "Debian"))  # type: ignore[arg-type]


@pytest.mark.parametrize("package_manager", sorted(KERNEL_COMMANDS))
def test_the_commands_are_shell(package_manager: str) -> None:
    commands = KERNEL_COMMANDS[package_manager]
    batch = run_batch(LocalShell(), kernel_snippets(commands), timeout=60, prelude=kernel_prelude(commands))
    reading = parse_kernel(batch)
    assert reading.release
    assert reading.running.startswith("Linux version")
    assert "yntax error" not in batch.error_text
    if shutil.which({"dpkg": "dpkg-query", "apk": "apk"}.get(package_manager, package_manager)) is None:
        assert reading.package == ""
        assert judge_kernel(reading, "nobody")
