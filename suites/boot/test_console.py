"""Does the guest speak on its first console?"""

from __future__ import annotations

import re
import secrets

from fixtures.deadline import Deadline
from fixtures.guest import Guest
from suites.boot.bounds import boot_bounds
from suites.waiting import wait_until

# A kernel message with its time stamp, or the banner that every Linux begins with.
KERNEL_SPEAKS = re.compile(r"Linux version |^\[ *\d+\.\d{6}\]", re.MULTILINE)
# getty(8) asks so, whatever stands before it; busybox's and agetty's default alike.
LOGIN_SPEAKS = re.compile(r"\blogin: ")


def test_console_speaks(guest: Guest) -> None:
    """Kernel and login reach the first serial or paravirtual console.

    Preconditions: the guest's kernel command line or loader names that console.
    Steps: look for the kernel's and the login's words of the boot; write a line to the kernel's log now.
    Expected: the console's text holds the boot's kernel messages and a login prompt, and the new line comes out of it.
    """
    text = guest.console_text()
    assert KERNEL_SPEAKS.search(text), (
        f"expected kernel messages on the first console, its {len(text)} characters hold none; see the console log"
    )
    assert LOGIN_SPEAKS.search(text), (
        f"expected a login prompt on the first console, it ends with {text[-120:]!r}; see the console log"
    )
    token = f"guestcert console probe {secrets.token_hex(8)}"
    # Level 1 (alert) gets through `quiet`; level 0 would have journald write to every terminal.
    guest.check(("sh", "-c", f"echo '<1>{token}' > /dev/kmsg"))
    deadline = Deadline.after(boot_bounds().console_s)
    assert wait_until(lambda: token in guest.console_text(), deadline), (
        f"expected a kernel message written now to reach the first console within {deadline.span:g} s, "
        f"it did not; see the console log"
    )
