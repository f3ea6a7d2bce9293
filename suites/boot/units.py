"""What each init system says about services that failed: one command each, one parser each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """How to ask an init system for failed services.

    `settle` waits until the boot's jobs are done (its exit status says nothing), `listing` prints all states of
    interest, `failed` picks the names from it, `detail` is a command to which failed names are appended, for evidence.
    """

    settle: str
    listing: str
    failed: Callable[[str], list[str]]
    detail: tuple[str, ...]


def failed_systemd_units(text: str) -> list[str]:
    """Units from `systemctl list-units --plain --no-legend`: `UNIT LOAD ACTIVE SUB DESCRIPTION`."""
    failed = []
    for line in text.splitlines():
        fields = line.replace("\u25cf", " ").replace("*", " ").split()
        if len(fields) >= 4 and (fields[2] == "failed" or fields[3] in {"failed", "auto-restart"}):
            failed.append(fields[0])
    return failed


def failed_openrc_services(text: str) -> list[str]:
    """Services from `rc-status --all --nocolor`: ` NAME ... [  crashed  ]`."""
    found = re.findall(r"^\s*(\S+)\s.*\[\s*(?:crashed|failed|unsupervised)\b.*\]\s*$", text, re.MULTILINE)
    return list(dict.fromkeys(found))


def dead_sysvinit_services(text: str) -> list[str]:
    """Services from lines `NAME STATUS`: an init script's `status` ends with 1 or 2 where the program is dead and its pid or
    lock file is not (LSB 5.0, "Init Script Actions"); 3 is one that does not run, as those that only do something at boot."""
    found = (line.split() for line in text.splitlines())
    return [words[0] for words in found if len(words) == 2 and words[1] in {"1", "2"}]


# Scripts that do not know `status` may end with 1 for that.
_SYSVINIT_LISTING = """
level=$(PATH=$PATH:/usr/sbin:/sbin runlevel | cut -d' ' -f2)
for script in /etc/rc${level:-2}.d/S*; do
    [ -x "$script" ] && grep -Eq 'status\\)|init-d-script' "$script" || continue
    timeout 10 "$script" status >/dev/null 2>&1 </dev/null
    echo "${script##*/S??} $?"
done
"""

# busybox init keeps no record of a service that failed.
SERVICE_REPORTS: Mapping[str, ServiceReport] = MappingProxyType(
    {
        "systemd": ServiceReport(
            settle="systemctl is-system-running --wait >/dev/null",
            listing="systemctl list-units --all --state=failed,auto-restart --plain --no-legend --no-pager",
            failed=failed_systemd_units,
            detail=("systemctl", "status", "--no-pager", "--full", "--lines=20"),
        ),
        "openrc": ServiceReport(
            settle=":",
            listing="rc-status --all --nocolor",
            failed=failed_openrc_services,
            detail=("rc-service", "--ifexists"),
        ),
        "sysvinit": ServiceReport(
            settle=":",
            listing=_SYSVINIT_LISTING,
            failed=dead_sysvinit_services,
            detail=("sh", "-c", 'for each in "$@"; do "/etc/init.d/$each" status; done 2>&1', "sh"),
        ),
    }
)
