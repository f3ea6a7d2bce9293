"""What init systems print about services that failed."""

from __future__ import annotations

from suites.boot.units import failed_openrc_services, failed_systemd_units

OPENRC = """\
Runlevel: default
 sshd                                                   [  started 00:01:02 (0) ]
 crond                                                  [  crashed  ]
 chronyd                                                [  stopped  ]
Dynamic Runlevel: manual
"""


def test_systemd_without_failures() -> None:
    assert failed_systemd_units("\n") == []


def test_systemd_failed_and_restarting_units() -> None:
    text = (
        "● broken.service   loaded failed     failed       A broken one\n"
        "  flapping.service loaded activating auto-restart A flapping one\n"
        "  fine.service     loaded active     running      A fine one that failed before\n"
    )
    assert failed_systemd_units(text) == ["broken.service", "flapping.service"]


def test_openrc_crashed_services() -> None:
    assert failed_openrc_services(OPENRC) == ["crond"]
    assert failed_openrc_services(OPENRC.replace("crashed", "started")) == []
