"""Does the guest speak on its first console?"""

from __future__ import annotations

import re
import secrets

import pytest

from fixtures.console import shows_shell
from fixtures.deadline import Deadline
from fixtures.guest import Guest
from suites.boot.bounds import boot_bounds
from suites.reading.questions import questions_for
from suites.waiting import wait_until

# A kernel message with its time stamp, or the banner that every Linux, or BSD, begins with.
KERNEL_SPEAKS = re.compile(r"Linux version |^\[ *\d+\.\d{6}\]|^(?:Free|Net|Open)BSD \d+\.\d", re.MULTILINE)
# getty(8) asks so, whatever stands before it; busybox's and agetty's default alike.
LOGIN_SPEAKS = re.compile(r"\blogin: ")


def _user_space_speaks(guest: Guest, text: str) -> bool:
    """A login prompt, or what the guest's entry says instead: its own words, or a shell without a login."""
    login = guest.spec.login
    if login.ready is not None:
        return re.search(login.ready, text, re.MULTILINE) is not None
    shell = login.channel == "console" and shows_shell(text.encode())
    return shell or LOGIN_SPEAKS.search(text) is not None


@pytest.mark.without_shell
def test_console_speaks(guest: Guest) -> None:
    """Kernel and login reach the first serial or paravirtual console.

    Preconditions: the guest's kernel command line or loader names that console.
    Steps: look for the kernel's and the login's words of the boot; where there is a shell, write a line to the kernel's
    log now.
    Expected: the console's text holds the boot's kernel messages and a login prompt (or what the guest's entry says comes
    instead), and the new line comes out of it.
    """
    speak = questions_for(guest).speak
    if speak is None:
        pytest.skip(f"guestcert knows no way to have {guest.spec.family} speak on a serial console")
    text = guest.console_text()
    assert KERNEL_SPEAKS.search(text), (
        f"expected kernel messages on the first console, its {len(text)} characters hold none; see the console log"
    )
    assert _user_space_speaks(guest, text), (
        f"expected {guest.spec.login.ready or 'a login prompt'!r} on the first console, it ends with {text[-120:]!r}; "
        "see the console log"
    )
    if not guest.has_shell:
        return
    token = f"guestcert console probe {secrets.token_hex(8)}"
    guest.check(guest.family.script(speak.format(line=token)))
    deadline = Deadline.after(boot_bounds().console_s)
    assert wait_until(lambda: token in guest.console_text(), deadline), (
        f"expected a kernel message written now to reach the first console within {deadline.span:g} s, "
        f"it did not; see the console log"
    )
