"""What init systems print about services that failed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from suites.boot.units import SERVICE_REPORTS, dead_sysvinit_services, failed_openrc_services, failed_systemd_units

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


def test_sysvinit_services_that_died(tmp_path: Path) -> None:
    """Real init scripts of a sort: what each says of itself, whether it is asked, and that nothing is started by asking."""
    folder = tmp_path / "rc2.d"
    folder.mkdir()
    scripts = {
        "S01fine": "case $1 in status) exit 0;; *) touch started;; esac",
        "S02died": "case $1 in status) exit 1;; *) touch started;; esac",
        "S03locked": "case $1 in status) exit 2;; *) touch started;; esac",
        "S04once": "case $1 in status) exit 3;; *) touch started;; esac",
        "S05ignorant": "case $1 in start) touch started;; *) exit 1;; esac",
        "K01off": "case $1 in status) exit 1;; esac",
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    (tmp_path / "runlevel").write_text("#!/bin/sh\necho N 2\n")
    (tmp_path / "runlevel").chmod(0o755)
    report = SERVICE_REPORTS["sysvinit"]
    listing = report.listing.replace("/etc/rc", f"{tmp_path}/rc")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", listing], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert dead_sysvinit_services(done.stdout) == ["died", "locked"]
    assert not (tmp_path / "started").exists()
