"""Whole runs with guests that have nothing but a console: with a shell at once, behind a password, and without any login."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.options import CHECKOUT
from images import Image, Store, load_catalogue
from images.manifest import file_digest
from matrix.places import cache_dir

PASSWORD = "correct-horse-9"  # noqa: S105 -- of a guest that lives for this test
SHELL_AT_ONCE = "#!/bin/sh\nexec getty -n -l /bin/sh -L 0 ttyS0 vt100\n"
PROFILE = "[boot/cold_boot, boot/console_speaks, cpu/vcpu_count, lifecycle/pause_resume]"
SECONDS = 600
"""For a run: twenty times what it takes on a free machine."""


class Lab:
    """An overlay with one guest, whose image is `minimal` with other files in its initramfs, and runs of it."""

    def __init__(self, folder: Path, runtime: Path, image: Image) -> None:
        self.folder, self.runtime = folder, runtime
        self._image = image
        self.printed = ""

    def guest(self, login: str, files: dict[str, tuple[int, str]], more: str = "", profile: str = PROFILE) -> None:
        """`files` by path: mode and text; the kernel unpacks a second archive over the first."""
        tree = self.folder / "files"
        for name, (mode, text) in files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        archive = ["busybox", "cpio", "-o", "-H", "newc"]
        added = subprocess.run(archive, cwd=tree, input=names.encode(), capture_output=True, check=True).stdout
        assert self._image.initrd is not None
        assert self._image.kernel is not None
        initrd = self.folder / "initrd"
        initrd.write_bytes(self._image.initrd.read_bytes() + added)
        # A cache of its own, but for QEMU, which would be unpacked in each test.
        programs = cache_dir() / "programs"
        programs.mkdir(exist_ok=True)
        (self.folder / "cache").mkdir()
        (self.folder / "cache" / "programs").symlink_to(programs)
        for kind in ("guests", "images"):
            (self.folder / "lab" / kind).mkdir(parents=True)
        (self.folder / "lab" / "images" / "small.yaml").write_text(
            "id: small\nname: Small\nkind: pair\norigin: this test\ndisk_gib: 1\n"
            f"kernel: {{url: {self._image.kernel}, sha256: {file_digest(self._image.kernel, 'sha256')}}}\n"
            f"initrd: {{url: {initrd}, sha256: {file_digest(initrd, 'sha256')}}}\n"
        )
        (self.folder / "lab" / "guests" / "small.yaml").write_text(
            "id: small\nname: Small\nvendor: guestcert\nversion: '1'\nimage: small\nboot: direct\ninit: busybox\n"
            "agent: false\nkernel_command_line: [console=ttyS0]\nresources: {vcpus: 1, memory_mib: 192}\n"
            f"login: {login}\n{more}"
        )
        (self.folder / "lab" / "profiles.yaml").write_text(f"profiles:\n  - {{id: small, required: {profile}}}\n")

    def run(self, *, profile: str = "small", **environment: str) -> dict[str, tuple[str, str]]:
        """Verdict and reason by probe."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        own = {"GUESTCERT_CACHE_DIR": str(self.folder / "cache"), "GUESTCERT_RUNTIME_DIR": str(self.runtime)}
        words = [
            "run",
            "--guest",
            "small",
            "--hypervisor",
            "qemu-tcg",
            "--profile",
            profile,
            "--matrix",
            "lab",
            "--no-html",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *words, "--out", "out"],
            cwd=self.folder,
            env=clean | own | {"PYTHONPATH": str(CHECKOUT)} | environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.printed = done.stdout + done.stderr
        lines = (self.folder / "out" / "events.jsonl").read_text().splitlines()
        self.events = [json.loads(line) for line in lines]
        finished = [event for event in self.events if event["event"] == "probe_finished"]
        return {event["probe"]: (event["verdict"], event.get("reason") or "") for event in finished}

    def facts(self, probe: str) -> dict[str, object]:
        facts: dict[str, object] = next(
            event["facts"] for event in self.events if event.get("facts") and event["probe"] == probe
        )
        return facts

    def files_with(self, text: str) -> list[Path]:
        """What of run and cache holds `text`, the overlay itself left out."""
        roots = (self.folder / "out", self.folder / "cache" / "checkpoints", self.folder / "cache" / "live")
        files = [path for root in roots for path in root.rglob("*") if path.is_file() and path.name != "memory.save"]
        return [path for path in files if text.encode() in path.read_bytes()]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    runtime = Path(tempfile.mkdtemp(prefix="gcr-"))  # not below tmp_path: sockets need short names
    store = Store(cache_dir())
    try:
        yield Lab(tmp_path, runtime, store.obtain(load_catalogue()["minimal"]))
    finally:
        store.close()
        shutil.rmtree(runtime, ignore_errors=True)


def test_a_shell_that_is_there_at_once_is_enough(lab: Lab) -> None:
    lab.guest("{channel: console}", {"sbin/console": (0o755, SHELL_AT_ONCE)})
    seen = lab.run()
    assert {verdict for verdict, _ in seen.values()} == {"pass"}, lab.printed
    assert len(seen) == 4
    assert lab.facts("cpu/vcpu_count")["entered_by"] == "console"
    assert "login:" not in next((lab.folder / "out").rglob("console.log")).read_text()


@pytest.mark.parametrize("address", ["static", "dhcp"])
def test_where_dhcp_brings_nothing_an_address_is_given_to_who_wants_one(lab: Lab, address: str) -> None:
    """A guest that asks nobody for an address: with none it reaches nobody, which is what its network probes say."""
    lab.guest(
        "{channel: console}",
        {"sbin/network": (0o755, "#!/bin/sh\nexit 0\n")},
        f"address: {address}\n",
        "[boot/cold_boot, network/nic_seen, network/address, network/transfer_verified]",
    )
    seen = lab.run()
    notes = str(lab.facts("boot/cold_boot")["notes"])
    if address == "static":
        assert {verdict for verdict, _ in seen.values()} == {"pass"}, lab.printed
        assert len(seen) == 4
        assert "address 10.0.2.15/24: DHCP had brought none within 5 s" in notes
    else:
        assert seen["boot/cold_boot"][0] == "pass", lab.printed
        assert seen["network/address"][0] == "fail", lab.printed
        assert "address" not in notes


def test_a_login_with_a_password_that_nobody_gets_to_read(lab: Lab) -> None:
    hashed = subprocess.run(
        ["busybox", "mkpasswd", "-m", "sha512", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    lab.guest(
        "{channel: console, password_env: SMALL_PASSWORD}",
        {"etc/passwd": (0o644, f"root:{hashed}:0:0:root:/root:/bin/sh\n")},
    )
    seen = lab.run(SMALL_PASSWORD=PASSWORD)
    assert {verdict for verdict, _ in seen.values()} == {"pass"}, lab.printed
    assert PASSWORD not in lab.printed
    assert lab.files_with(PASSWORD) == []


def test_a_wrong_password_is_nothing_against_the_guest(lab: Lab) -> None:
    hashed = subprocess.run(
        ["busybox", "mkpasswd", "-m", "sha512", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    lab.guest(
        "{channel: console, password_file: secret}", {"etc/passwd": (0o644, f"root:{hashed}:0:0:root:/root:/bin/sh\n")}
    )
    (lab.folder / "secret").write_text("wrong-horse-7\n")
    verdict, reason = lab.run()["boot/cold_boot"]
    assert verdict == "error", lab.printed
    assert "the console refuses the login of user 'root'" in reason
    assert lab.files_with("wrong-horse-7") == []


def test_where_nobody_can_log_in_the_console_is_certified_and_nothing_else(lab: Lab) -> None:
    said = "#!/bin/sh\necho 'appliance is up' >/dev/console\nwhile :; do sleep 3600; done\n"
    lab.guest("{channel: none, ready: '^appliance is up'}", {"sbin/console": (0o755, said)})
    seen = lab.run()
    assert seen["boot/cold_boot"][0] == "pass", lab.printed
    assert seen["boot/console_speaks"][0] == "pass", lab.printed
    for probe in ("cpu/vcpu_count", "lifecycle/pause_resume"):
        assert seen[probe] == ("skip", "setup: no shell")
    assert "inconclusive small+qemu-tcg+none" in lab.printed
    shutil.rmtree(lab.folder / "out")
    lab.run(profile="console")
    assert "Exit 0: every tested cell is certified" in lab.printed, lab.printed
