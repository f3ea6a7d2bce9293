"""The machine that an installer runs in: real QEMU, with kernels of a few bytes that succeed, fail, hang and ask."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from images import ImageFault, InstallEntry, Store, installer_machine
from images.answers import WORD
from images.emulator import Emulator
from images.forms import PublishedFile
from images.installer_console import InstallerConsole
from images.installer_machine import Machine, install
from images.progress import SilentReporter
from tests.documentation import CHECKOUT
from tests.patience import when_passed
from tests.unit.images.machine_programs import HALT, POWER_OFF, RESET, first_time, kernel, say, word

DONE = word(f"{WORD}\n".encode())
OWN = Emulator("qemu-system-x86_64", kvm=False)
LONG = 120.0
"""Seconds within which a busy machine starts QEMU."""


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder with an empty disk."""
    folder = tmp_path / "room, with a comma"
    folder.mkdir()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / "disk", "16M"], check=True)
    return folder


MACHINE = Machine(disk_bus="virtio", memory_mib=64, cpu="x86-64-v2", kernel="kernel")


def run(room: Path, *steps: bytes, machine: Machine = MACHINE, seconds: float = LONG) -> str:
    """Run a kernel of `steps`; what it said on its console."""
    (room / "kernel").write_bytes(kernel(*steps))
    log = room / "log"
    install(machine, room, log=log, seconds=seconds, report=SilentReporter(), name="acme", emulator=OWN)
    return log.read_bytes().decode()


class Heard(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_an_installer_that_ends_the_machine_has_installed(room: Path) -> None:
    assert run(room, say(b"working\r\n"), DONE, POWER_OFF) == "working\r\n"
    assert children() == []


@pytest.mark.parametrize("end", [POWER_OFF, RESET], ids=["power off", "reset"])
def test_an_installer_that_ends_without_the_word_has_not(room: Path, end: bytes) -> None:
    with pytest.raises(ImageFault, match=r"without having finished; the console last said: one \| two \| three$"):
        run(room, say(b"zero\none\r\n\x1b[31mtwo\x1b[0m\n\nthree"), end)


def test_a_line_that_is_not_at_its_end_is_told(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer_machine, "_SAY_SECONDS", 0.0)
    (room / "kernel").write_bytes(kernel(say(b"Installing ... 1%...\r\n2%"), DONE, POWER_OFF))
    report = Heard()
    install(MACHINE, room, log=room / "log", seconds=LONG, report=report, name="acme", emulator=OWN)
    assert report.lines[-1] == "acme, 0 min: 2%"


def test_a_word_that_is_another_is_none(room: Path) -> None:
    with pytest.raises(ImageFault, match="its console said nothing"):
        run(room, word(b"guestcert-has-not"), POWER_OFF)


def test_an_installer_that_hangs_is_ended_at_its_deadline(room: Path) -> None:
    fault = when_passed(
        ImageFault,
        lambda seconds: run(room, say(b"hanging"), DONE, HALT, seconds=4 * seconds),
        lambda fault: "said: hanging" in str(fault),
    )
    assert re.search(r"did not end within .* min; the console last said: hanging", str(fault))
    assert children() == []


def test_an_installer_that_asks_is_ended_before_its_deadline(room: Path) -> None:
    machine = dataclasses.replace(MACHINE, question=r"Continue\?$", patience=1)
    with pytest.raises(ImageFault, match=r"asks what its answers do not say; the console last said: Continue\?"):
        run(room, say(b"Continue? \r\n\x1b[?2004h"), HALT, machine=machine)


def test_a_question_that_is_answered_is_none(room: Path) -> None:
    machine = dataclasses.replace(MACHINE, question=r"Continue\?$", patience=1)
    assert run(room, say(b"Continue? yes\n"), DONE, POWER_OFF, machine=machine) == "Continue? yes\n"


def test_an_installer_may_go_on_after_a_reboot(room: Path) -> None:
    steps = (first_time(say(b"first\n"), RESET, HALT), say(b"second\n"), DONE, POWER_OFF)
    assert run(room, *steps, machine=dataclasses.replace(MACHINE, reboots=True)) == "first\nsecond\n"
    with pytest.raises(ImageFault, match=r"without having finished; the console last said: first$"):
        run(room, *steps)


def test_what_qemu_complains_about_is_said(room: Path) -> None:
    with pytest.raises(ImageFault, match=r"QEMU ended with status 1: .*absent.iso"):
        run(room, HALT, machine=dataclasses.replace(MACHINE, cd_roms=("absent.iso",)))


def test_the_disk_is_the_machines(room: Path) -> None:
    (room / "disk").write_bytes(b"no qcow2")
    with pytest.raises(ImageFault, match=r"QEMU ended with status 1: .*qcow2"):
        run(room, HALT)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_is_left_of_an_installation_whose_owner_ends(room: Path, number: int, status: int) -> None:
    (room / "kernel").write_bytes(kernel(say(b"hanging\n"), HALT))
    # What the installer says comes through a pipe, so that there is no waiting by the clock.
    log = room / "log"
    os.mkfifo(log)
    program = (
        "import sys; from pathlib import Path; from images.emulator import Emulator; from images.installer_machine import Machine, install\n"
        "from images.progress import SilentReporter\n"
        "room = Path(sys.argv[1]); machine = Machine('virtio', 64, 'x86-64-v2', kernel='kernel')\n"
        "emulator = Emulator('qemu-system-x86_64', kvm=False)\n"
        "try: install(machine, room, log=room / 'log', seconds=300, report=SilentReporter(), name='acme', emulator=emulator)\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    owner = subprocess.Popen([sys.executable, "-P", "-c", program, room], cwd=room, env=_environment())
    try:
        with log.open("rb") as said:
            assert said.readline() == b"hanging\n"
            machines = psutil.Process(owner.pid).children(recursive=True)
            assert any("qemu" in machine.name() for machine in machines)
            owner.send_signal(number)
            assert owner.wait(60) == status
        _, alive = psutil.wait_procs(machines, timeout=60)
        assert alive == []
    finally:
        owner.kill()
        owner.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT)}


def test_the_log_of_a_console_has_an_end_and_the_last_lines(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        console = InstallerConsole(log, limit=100)
        for number in range(1000):
            console.take(f"line {number}\n".encode())
        console.close()
    text = (tmp_path / "log").read_text()
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 998\nline 999\n")
    assert len(text) < 1000
    assert "bytes in all left out" in text


def test_a_line_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        console = InstallerConsole(log)
        for _ in range(64):
            console.take(b"x" * 65536)
        assert console.end == "x" * 200


# As an image


def entry(tmp_path: Path, *steps: bytes, **fields: object) -> InstallEntry:
    """The entry of a kernel of `steps` and an initrd, with their true digests."""
    made = {"kernel": kernel(*steps), "initrd": b"initrd of a test"}
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    tree = {
        name: {"url": str(tmp_path / name), "sha256": hashlib.sha256(data).hexdigest()} for name, data in made.items()
    }
    described = {
        "kind": "install",
        "id": "acme-installed",
        "name": "Acme",
        "origin": "a test",
        "answers": "preseed",
        "tree": tree,
        "memory_mib": 64,
        "disk_gib": 1,
        "packages": [{"packages": ["openssh-server"], "reason": "a way in"}],
    }
    return InstallEntry.model_validate(described | fields)


def test_what_was_installed_is_an_image(store: Store, cache: Path, tmp_path: Path) -> None:
    installed = entry(tmp_path, say(b"working\n"), DONE, POWER_OFF)
    image = store.obtain(installed)
    assert (image.format, image.virtual_size, image.seed) == ("qcow2", 1024**3, "built-in")
    assert (image.kernel, image.root_device) == (None, "/dev/vda1")
    assert image.adjustments[0].startswith("installed by the installer whose kernel has sha256:")
    assert "installed openssh-server: a way in" in image.adjustments
    (manifest,) = store.manifests()
    assert (manifest.kind, manifest.entry) == ("install", "acme-installed")
    left = [path for path in (cache / "images/work").rglob("*") if path.is_file()]
    assert left == [], "neither keys nor installer are left"
    # The second time nothing is run: without the kernel nothing could be.
    (tmp_path / "kernel").unlink()
    assert store.obtain(installed).digest == image.digest


def test_what_was_not_installed_is_no_image(store: Store, cache: Path, tmp_path: Path) -> None:
    broken = entry(tmp_path, say(b"No space left on device\n"), POWER_OFF)
    with pytest.raises(ImageFault) as caught:
        store.obtain(broken)
    message = str(caught.value)
    assert message.startswith("acme-installed: the installer ended the machine without having finished")
    assert "the console last said: No space left on device" in message
    log = cache / "images/acme-installed.failed.log"
    assert str(log) in message
    assert log.read_text() == "No space left on device\n"
    assert list(store.manifests()) == []
    assert [path for path in (cache / "images/work").rglob("*") if path.is_file()] == []


def test_kvm_is_used_where_it_really_works_and_asked_for_only_then(cache: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def emulator() -> Emulator:
        asked.append("kvm")
        return OWN

    store = Store(cache, emulator)
    installed = entry(tmp_path, DONE, POWER_OFF)
    store.obtain(installed)
    store.obtain(installed)
    store.close()
    assert asked == ["kvm"]
    assert "kvm" in MACHINE.command(3, 4, Emulator("qemu", kvm=True))
    assert "kvm" not in MACHINE.command(3, 4, OWN)


def test_everything_that_decides_is_part_of_the_key(store: Store, tmp_path: Path) -> None:
    one = entry(tmp_path, POWER_OFF)
    described = one.model_dump()
    for other in (
        {"disk_gib": 2},
        {"kernel_command_line": ("quiet",)},
        {"packages": ()},
        {"mirror": "http://mirror.example/debian"},
    ):
        assert store.key_of(InstallEntry.model_validate(described | other)) != store.key_of(one), other
    # A place or a patience is no part of what comes out.
    assert store.key_of(InstallEntry.model_validate(described | {"minutes": 5})) == store.key_of(one)
    moved = one.with_addresses(lambda address: f"file://{address}")
    assert moved.files["kernel"].url.startswith("file://")
    assert store.key_of(moved) == store.key_of(one)


def test_an_installer_that_changed_is_not_run(store: Store, tmp_path: Path) -> None:
    installed = entry(tmp_path, DONE, POWER_OFF)
    (tmp_path / "initrd").write_bytes(b"another")
    with pytest.raises(ImageFault, match="not used"):
        store.obtain(installed)


FILE = {"url": "file.iso", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"tree": None}, "exactly one of package, iso and tree"),
        ({"iso": FILE}, "exactly one of package, iso and tree"),
        ({"answers": "kickstart"}, "needs repository"),
        ({"answers": "autoinstall"}, "runs from its medium"),
        ({"answers": "autounattend", "product": "Windows"}, "booted as it is"),
        ({"answers": "autounattend", "tree": None, "iso": FILE}, "the name of the image in install.wim"),
        ({"answers": "autoinstall", "tree": None, "iso": FILE}, "needs kernel and initrd"),
        ({"tree": None, "iso": FILE | {"kernel": "/vmlinuz"}}, "named together"),
        ({"tree": None, "iso": {"url": "file.iso"}}, "exactly one of sha256 and sha512"),
        ({"mirror": "file:///srv/debian"}, "reaches it by network only"),
        ({"product": "SLES\n<x/>"}, "a product's name"),
        ({"packages": [{"packages": ["a b"], "reason": "none"}]}, "a package name"),
        ({"kernel_command_line": ["quiet splash"]}, "one kernel argument"),
    ],
)
def test_an_entry_that_cannot_be_is_a_mistake(tmp_path: Path, fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        entry(tmp_path, POWER_OFF, **fields)


def test_what_windows_needs_is_there(tmp_path: Path) -> None:
    fields = {"tree": None, "iso": FILE, "drivers": FILE, "answers": "autounattend", "product": "Windows Server 2025"}
    windows = entry(tmp_path, POWER_OFF, **fields)
    assert windows.files.keys() == {"iso", "drivers"}
    machine = dataclasses.replace(MACHINE, kernel=None, cd_roms=("iso", "answers.iso", "drivers"), reboots=True)
    command = " ".join(machine.command(3, 4, OWN))
    assert "-device VGA" in command
    assert "-no-reboot" not in command
    assert command.index("drive=disk,bootindex=1") < command.index("drive=cd1,bootindex=2")
    assert PublishedFile.model_validate(FILE) == windows.drivers
