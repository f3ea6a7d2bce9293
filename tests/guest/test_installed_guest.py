"""A disk that Debian's own installer wrote, booted by the loader that it installed, and entered with the pinned key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fixtures.deadline import Deadline
from fixtures.emulator import installer_emulator
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Image, InstallEntry, Store, load_catalogue
from images.installer_network import mirror_of_apt
from matrix.expand import expand
from matrix.load import load
from matrix.model import Selection
from matrix.places import cache_dir
from tests.guest.completed_mirror import ADDRESS, Apt, MirrorUnusable, complete, serve, through

pytestmark = pytest.mark.slow  # an installation, unless the cache has its disk already

PATIENT = 600.0
"""Ten times what a boot took on two cores with six busy processes."""


@pytest.fixture(params=["debian-12-installed", "debian-13-installed"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Image]:
    """In the cache that all runs share: whoever comes first waits for the installation."""
    entry = load_catalogue()[request.param]
    assert isinstance(entry, InstallEntry)
    assert entry.package is not None
    entry = through(ADDRESS, entry)
    with closing(Store(cache_dir(), installer_emulator)) as store:
        if store.known(entry) is not None:
            yield store.obtain(entry)
            return
        mirror = mirror_of_apt(entry.package.suite) or mirror_of_apt("bookworm")
        if mirror is None:
            pytest.skip("the apt of this machine knows no mirror of Debian")
        served = tmp_path / "served"
        try:
            complete(Apt(tmp_path / "apt", entry.package.suite, mirror), entry.package, served)
        except MirrorUnusable as reason:
            pytest.skip(str(reason))
        with serve(served, mirror):
            image = store.obtain(entry)
        yield image


def test_what_debians_installer_wrote_is_a_guest(installed: Image, host: Host, tmp_path: Path) -> None:
    release = installed.id.removeprefix("debian-").removesuffix("-installed")
    assert installed.adjustments[0].startswith(f"installed by debian-installer-{release}-netboot-amd64 2")
    where = Selection(cell=(f"{installed.id}+qemu-tcg+none",))
    (cell,) = expand(load(), where, today=dt.datetime.now(dt.UTC).date())
    with Guest(cell, host, installed, tmp_path / "guest", run_id="tests", cold=True) as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        assert guest.run(["cat", "/etc/hostname"]).text == f"{installed.id}\n"
        # What the installer's last command was to do, and all that it was to do.
        assert guest.run(["sh", "-c", "ls /etc/ssh/ssh_host_*"]).text.split() == [
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/ssh/ssh_host_ed25519_key.pub",
        ]
        assert guest.run(["sh", "-c", "grep ^root: /etc/shadow | cut -d: -f2"]).text == "*\n"
        assert guest.run(["sh", "-c", "ls /var/log/installer"]).text.split(), "it was the installer"
        assert "net.ifnames=0" in guest.run(["cat", "/proc/cmdline"]).text
        assert guest.run(["dpkg", "--audit"]).text == ""
        for package in ("openssh-server", "qemu-guest-agent", "linux-image-amd64"):
            assert guest.run(["dpkg-query", "-Wf", "${Status}", package]).text == "install ok installed"
