"""Forms of image that are put together here, booted for real: what counts is a shell that answers on the console."""

from __future__ import annotations

import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from fixtures.channels.byte_stream import DescriptorStream
from fixtures.channels.console_shell import ConsoleShell
from fixtures.deadline import Deadline
from fixtures.this_machine import ThisMachine
from images import Image, KernelPackage, RootfsEntry, Store, load_catalogue
from images.manifest import file_digest
from matrix.places import cache_dir
from tests.container_image import layout, tar

_SECONDS = 240.0
"""For a boot: ten times the slowest seen with nine busy processes on two cores."""

Boot = Callable[[Image], ConsoleShell]


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    """Boots an image's kernel and initrd with an overlay of its disk; the shell on its first serial line."""
    with ExitStack() as stack:

        def start(image: Image) -> ConsoleShell:
            overlay = tmp_path / "overlay.qcow2"
            ThisMachine().create_overlay(overlay, image.disk, image.format, image.virtual_size)
            ours, theirs = _pair()
            argv = [
                *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-m", "384", "-nodefaults"),
                *("-display", "none", "-no-reboot", "-chardev", f"socket,id=console,fd={theirs}"),
                *("-serial", "chardev:console", "-device", "virtio-blk-pci,drive=root"),
                *("-drive", f"if=none,id=root,format=qcow2,file={overlay}"),
                *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
                *("-append", f"root={image.root_device} console=ttyS0"),
            ]
            process = stack.enter_context(subprocess.Popen(argv, pass_fds=[theirs]))
            stack.callback(process.kill)
            stream = DescriptorStream(ours, "the console")
            stack.callback(stream.close)
            return ConsoleShell.log_in(stream, "root", None, Deadline.after(_SECONDS))

        yield start


def _pair() -> tuple[int, int]:
    """Both ends of a serial line, as descriptors."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store(cache_dir())
    yield opened
    opened.close()


def test_the_minimal_system_answers_on_its_console(boot: Boot, store: Store) -> None:
    image = store.obtain(load_catalogue()["minimal"])
    shell = boot(image)
    assert "ID=guestcert-minimal" in shell.run(["cat", "/etc/os-release"]).text
    assert shell.run(["cat", "/proc/1/comm"]).text == "init\n"
    assert shell.run(["test", "-b", "/dev/vda"]).status == 0


@pytest.fixture(scope="module")
def debians_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of Debian's own files without kernel or init, as a container's base image has them."""
    archive = tmp_path_factory.mktemp("debian") / "root.tar"
    argv = ["mmdebstrap", "--variant=essential", "--quiet", "bookworm", str(archive)]
    subprocess.run(argv, check=True, capture_output=True)
    return archive


def in_layers(base: Path, archive: Path) -> None:
    """Write `archive`, an OCI image of `base` and of two layers that change it."""
    layers = [base.read_bytes(), tar({"etc/kept": b"kept\n", "etc/gone": b"gone\n"}), tar({"etc/.wh.gone": b""})]
    archive.write_bytes(tar(layout(layers, {"os": "linux", "architecture": "amd64"})))


@pytest.mark.parametrize("form", ["tar", "oci"])
def test_a_root_file_system_boots_with_a_kernel_that_is_not_its_own(
    form: Literal["tar", "oci"], debians_files: Path, boot: Boot, tmp_path: Path
) -> None:
    archive = debians_files
    if form == "oci":
        archive = tmp_path / "image.tar"
        in_layers(debians_files, archive)
    entry = RootfsEntry(
        kind="rootfs",
        id="debian-files",
        name="Debian's files",
        origin="Debian's archive",
        archive=form,
        url=str(archive),
        sha256=file_digest(archive, "sha256"),
        kernel=KernelPackage(suite="bookworm", package="linux-image-cloud-amd64", origin="Debian's archive"),
    )
    # A cache of its own: nobody else wants this image.
    own = Store(tmp_path / "cache")
    image = own.obtain(entry)
    assert image.kernel_from is not None
    assert "not the vendor's" in image.kernel_from
    assert any(image.kernel_from in line for line in image.adjustments)
    with tarfile.open(debians_files) as files:
        release = files.extractfile("./usr/lib/os-release")
        assert release is not None
        expected = release.read().decode()
    shell = boot(image)
    assert shell.run(["cat", "/etc/os-release"]).text == expected
    assert shell.run(["dpkg", "--verify"]).text == ""
    if form == "oci":
        assert shell.run(["cat", "/etc/kept"]).text == "kept\n"
        assert shell.run(["test", "-e", "/etc/gone"]).status != 0
    # No package owns the running kernel, so nothing can take it for the vendor's.
    assert shell.run(["sh", "-c", "ls /boot/vmlinuz-$(uname -r)"]).status != 0
    own.close()
