"""Is this the system, and the kernel, that the catalogue promises?"""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from fixtures.guest import Guest
from suites.fixture_types import Attach
from suites.provenance.kernel_package import (
    KERNEL_COMMANDS,
    judge_kernel,
    kernel_prelude,
    kernel_snippets,
    parse_kernel,
)
from suites.reading.batch import run_batch
from suites.reading.questions import ask, questions_for


def test_os_identity(guest: Guest, attach: Attach) -> None:
    """The guest is the operating system that its catalogue entry names.

    Preconditions: the catalogue entry says what os-release must hold.
    Steps: read /etc/os-release, or /usr/lib/os-release where there is none; ask systems that have neither for the same fields.
    Expected: every field of the catalogue entry has its value.
    """
    expected = guest.spec.os_release
    if not expected:
        pytest.skip("the guest's catalogue entry says nothing about os-release")
    seen, text = ask(guest, "what it is", questions_for(guest).identity)
    attach("os-release.txt", text)
    wrong = {field: seen.get(field) for field, value in expected.items() if seen.get(field) != value}
    assert not wrong, (
        f"expected {', '.join(f'{field}={expected[field]}' for field in wrong)}, the guest says "
        f"{', '.join(f'{field}={value}' for field, value in wrong.items())}; see os-release.txt"
    )


def test_vendor_kernel(guest: Guest, attach: Attach) -> None:
    """The running kernel is the vendor's own, unchanged.

    Preconditions: a package manager that guestcert knows; an image that brings its own kernel.
    Steps: find the running kernel's image; ask who owns and made it; verify it; compare its version text with the
    running kernel's.
    Expected: the image belongs to a package of the vendor, is as packaged, and is the build that runs.
    """
    if guest.image.kernel_from is not None:
        pytest.skip(f"the image brings no kernel; this one is from {guest.image.kernel_from}")
    commands = KERNEL_COMMANDS.get(guest.spec.package_manager or "")
    if commands is None:
        pytest.skip(
            f"guestcert knows no way to verify packages of {guest.spec.package_manager or 'no package manager'}"
        )
    reading = parse_kernel(run_batch(guest, kernel_snippets(commands), timeout=60, prelude=kernel_prelude(commands)))
    attach("kernel.json", json.dumps(asdict(reading), indent=2), "application/json")
    problems = judge_kernel(reading, guest.spec.vendor)
    assert not problems, f"{'; '.join(problems)}; see kernel.json"
