"""After a SIGKILL of whoever started a guest: nothing is left once somebody reaps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.reaping import reap
from matrix.places import cache_dir
from tests.emulator_processes import emulators

STARTER = """
import datetime, sys
from pathlib import Path
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import HostSpec, Selection
from matrix.places import cache_dir

(cell,) = expand(load(), Selection(cell=("debian-12+qemu-tcg+none",)), today=datetime.date.today())
guest = Guest(cell, Host.open(HostSpec(id="local", uri="qemu:///embed")), Store(cache_dir()).obtain(load_catalogue()["debian-12"]), Path(sys.argv[1]))
guest.to(State.RUNNING)
print(guest.plumbing.name, guest.plumbing.folder, flush=True)
sys.stdin.read()
"""


def test_a_killed_owner_leaves_nothing_after_the_next_reap(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path_factory.mktemp("r")
    runtime.chmod(0o700)
    monkeypatch.setenv("GUESTCERT_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(cache_dir()))
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "guest")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        name, folder = owner.stdout.readline().split()
        assert len(emulators(f"guest={name},")) == 1
        assert reap() == []  # its owner lives
        assert len(emulators(f"guest={name},")) == 1
        owner.kill()
    assert len(emulators(f"guest={name},")) == 1  # libvirt's embedded driver leaves it running
    reaped = reap()
    assert [result.problem for result in reaped] == [None, None]
    assert emulators(f"guest={name},") == []
    assert not Path(folder).exists()
    assert list(runtime.iterdir()) == [runtime / "registrations"]
    assert list((runtime / "registrations").iterdir()) == []
