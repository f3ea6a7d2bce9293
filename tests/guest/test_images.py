"""Built images for real: the boot loader's way into the system, and a build that is killed half-way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fixtures.this_machine import ThisMachine
from images import Image, Store

_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
)
_DEADLINE_S = 240  # three times the slowest boot through OVMF seen with eight busy processes on two cores


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The console, line by line, until QEMU ends or the deadline ends it."""
    watchdog = threading.Timer(_DEADLINE_S, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            yield line.decode(errors="replace")
    finally:
        watchdog.cancel()


def _console_until_login(image: Image, firmware: list[str], folder: Path) -> str:
    """What a machine with this firmware, and nothing but the image's disk, says until its login prompt."""
    overlay = folder / "overlay.qcow2"
    ThisMachine().create_overlay(overlay, image.disk, image.format, image.virtual_size)
    argv = [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "512"),
        *("-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *firmware,
        *("-drive", f"if=none,id=root,format=qcow2,file={overlay}", "-device", "virtio-blk-pci,drive=root"),
    ]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        seen: list[str] = []
        for line in _lines(process):
            seen.append(line)
            if f"{image.id} login: root (automatic login)" in line or f"Linux {image.id} " in line:
                break
        process.kill()
    return "".join(seen)


def test_a_built_image_boots_through_its_own_loader(image: Image, tmp_path: Path) -> None:
    """OVMF, the vendor's signed shim and GRUB, kernel and initrd from the disk, root by partition id."""
    firmware = next((pair for pair in _OVMF if all(Path(path).exists() for path in pair)), None)
    if firmware is None:
        pytest.skip("no OVMF on this host")
    code = ["-drive", f"if=pflash,format=raw,readonly=on,file={firmware[0]}"]
    variables = ["-drive", f"if=pflash,format=raw,snapshot=on,file={firmware[1]}"]
    text = _console_until_login(image, [*code, *variables], tmp_path)
    assert f"root={image.root_device}" in text, text[-3000:]
    assert f"Linux {image.id} " in text or f"{image.id} login:" in text, text[-3000:]


def test_a_built_image_boots_where_the_firmware_is_a_bios(image: Image, tmp_path: Path) -> None:
    """SeaBIOS, SYSLINUX from the partition that says so, kernel and initrd from beside it."""
    text = _console_until_login(image, [], tmp_path)
    assert "SYSLINUX" in text, text[-3000:]
    assert f"root={image.root_device}" in text, text[-3000:]
    assert f"Linux {image.id} " in text or f"{image.id} login:" in text, text[-3000:]


def test_a_killed_build_leaves_no_process_and_is_swept(tmp_path: Path) -> None:
    """kill -9 in the middle of mmdebstrap: it ends too, no mount stays, and the next store removes the rest."""
    cache = tmp_path / "cache"
    body = (
        "from pathlib import Path\nimport sys\nfrom images import Store, load_catalogue\n"
        "Store(Path(sys.argv[1])).obtain(load_catalogue()['debian-12'])\n"
    )
    building = subprocess.Popen([sys.executable, "-c", body, str(cache)], start_new_session=True)
    try:
        bootstrap = _descendant(building.pid, "mmdebstrap")
        others = [bootstrap, *bootstrap.children(recursive=True)]
    finally:
        os.kill(building.pid, signal.SIGKILL)
        building.wait()
    _, alive = psutil.wait_procs(others, timeout=60)
    assert alive == []
    assert str(cache) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    work = cache / "images/work"
    assert len(list(work.iterdir())) == 1
    Store(cache).sweep()
    assert list(work.iterdir()) == []


def _descendant(pid: int, name: str) -> psutil.Process:
    """The first process below `pid` that runs `name`; there is no event for that, so ask until it is there."""
    parent = psutil.Process(pid)
    while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
        for child in parent.children(recursive=True):
            try:
                if any(Path(word).name == name for word in child.cmdline()[:2]):
                    return child
            except psutil.NoSuchProcess:
                continue
    raise AssertionError(f"the build ended before it ran {name}")
