"""`images import`: what a disk says of itself without being booted, and the two files that come of it."""

from __future__ import annotations

import lzma
import subprocess
from pathlib import Path

import pytest
import yaml

from cli.main import run
from images import ImageFault, UrlEntry, load_catalogue
from images.command import find
from images.importing import import_image
from images.progress import SilentReporter
from matrix.load import load

MIB = 1024**2

TREE = {
    "usr/lib/os-release": 'ID=acme\nNAME="Acme Linux"\nVERSION_ID="9"\nPRETTY_NAME="Acme Linux 9 \x1b[31m"\nBROKEN="\n',
    "boot/vmlinuz-6.1.0-1-acme": "kernel",
    "lib/systemd/systemd": "init",
    "var/lib/dpkg/status": "",
    "usr/bin/qemu-ga": "",
    "usr/sbin/sshd": "",
}


def partitioned(path: Path, tree: Path | None, *, label: str = "gpt") -> Path:
    """A disk of 64 MiB with an EFI partition and, with a `tree`, an ext4 file system of it labelled "acme"."""
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    kinds = ("uefi", "linux") if label == "gpt" else ("ef", "83")
    table = f"label: {label}\nstart=2048, size=20480, type={kinds[0]}\nstart=22528, size=102400, type={kinds[1]}\n"
    subprocess.run([find("sfdisk"), "-q", path], input=table, text=True, check=True)
    if tree is not None:
        mke2fs: list[str | Path] = [
            find("mke2fs"),
            "-q",
            "-F",
            "-t",
            "ext4",
            "-L",
            "acme",
            "-E",
            "offset=11534336",
            "-d",
            tree,
            path,
            "51200k",
        ]
        subprocess.run(mke2fs, check=True)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files of a small Linux."""
    for name, content in TREE.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(content)
    return tmp_path / "tree"


def imported(file: Path, tmp_path: Path) -> tuple[dict[str, object], dict[str, object], str]:
    """Image, guest, and what was found."""
    made = import_image(file, "acme-9", tmp_path / "lab", tmp_path, SilentReporter())
    image, guest = (yaml.safe_load(path.read_text()) for path in made.files)
    return image, guest, "\n".join(made.lines)


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_a_linux_on_ext4_says_what_it_is(tmp_path: Path, tree: Path, label: str) -> None:
    raw = partitioned(tmp_path / "disk.raw", tree, label=label)
    packed = tmp_path / "disk.raw.xz"
    packed.write_bytes(lzma.compress(raw.read_bytes(), preset=0))
    image, guest, said = imported(packed, tmp_path)
    assert (image["format"], image["compression"], image["root_device"]) == ("raw", "xz", "LABEL=acme")
    assert image["seed"] == "none"
    assert guest["name"] == "Acme Linux 9 ?[31m"
    assert guest["os_release"] == {"ID": "acme", "VERSION_ID": "9"}
    assert (guest["init"], guest["agent"], guest["package_manager"]) == ("systemd", True, "dpkg")
    assert "kernel: vmlinuz-6.1.0-1-acme" in said
    assert "partition 1: 10 MiB, no known file system" in said
    # What was written is what --matrix reads.
    entry = load_catalogue([tmp_path / "lab"])["acme-9"]
    assert isinstance(entry, UrlEntry)
    assert load([tmp_path / "lab"]).guests["acme-9"].os_release["ID"] == "acme"


def test_other_inits_packages_and_seeds_are_told_apart(tmp_path: Path, tree: Path) -> None:
    (tree / "lib/systemd/systemd").unlink()
    (tree / "sbin").mkdir()
    (tree / "sbin/init").symlink_to("/bin/busybox")
    (tree / "etc/cloud").mkdir(parents=True)
    (tree / "etc/cloud/cloud.cfg").touch()
    (tree / "usr/bin/qemu-ga").unlink()
    image, guest, _ = imported(partitioned(tmp_path / "disk.raw", tree), tmp_path)
    assert (guest["init"], guest["agent"]) == ("busybox", False)
    assert "seed" not in image or image["seed"] == "cloud-init"
    (tree / "sbin/openrc").touch()
    (tmp_path / "second").mkdir()
    _, other, _ = imported(partitioned(tmp_path / "other.raw", tree), tmp_path / "second")
    assert other["init"] == "openrc"


@pytest.mark.parametrize(
    ("offset", "signature", "filesystem"),
    [
        (0, b"XFSB", "xfs"),
        (0x10040, b"_BHRfS_M", "btrfs"),
        (0x218, b"LVM2 001", "lvm"),
        (0, b"LUKS\xba\xbe", "luks"),
        (66908, b"\x19\x01\x54\x19", "ufs"),
        (3, b"NTFS", "ntfs"),
    ],
)
def test_what_cannot_be_looked_into_is_said(tmp_path: Path, offset: int, signature: bytes, filesystem: str) -> None:
    raw = partitioned(tmp_path / "disk.raw", None)
    with raw.open("r+b") as file:
        file.seek(22528 * 512 + offset)
        file.write(signature)
    _, guest, said = imported(raw, tmp_path)
    assert f"cannot look inside partition 2: it is {filesystem}" in said
    assert "no root file system was found" in said
    assert (guest["vendor"], guest["os_release"]) == ("unknown", {})
    assert "to be filled in by hand: vendor" in (tmp_path / "lab/guests/acme-9.yaml").read_text()


def test_an_absurd_release_file_is_not_read(tmp_path: Path, tree: Path) -> None:
    with (tree / "usr/lib/os-release").open("wb") as file:
        file.truncate(1 << 40)
    _, guest, _ = imported(partitioned(tmp_path / "disk.raw", tree), tmp_path)
    assert guest["os_release"] == {}


def test_a_disk_that_names_other_files_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * MIB)
    bad = tmp_path / "bad.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, bad], check=True)
    with pytest.raises(ImageFault, match="names a backing file"):
        imported(bad, tmp_path)
    assert not (tmp_path / "lab").exists()


def test_the_command_writes_once(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(tmp_path / "cache"))
    raw, lab = partitioned(tmp_path / "disk.raw", tree), str(tmp_path / "lab")
    assert run(["images", "import", str(raw), "--as", "acme-9", "--to", lab]) == 0
    assert "system: Acme Linux 9" in capsys.readouterr().out
    assert run(["matrix", "lint", "--matrix", lab]) == 0
    capsys.readouterr()
    for arguments in (["acme-9", "--to", lab], ["../acme", "--to", lab], ["Acme", "--to", lab]):
        assert run(["images", "import", str(raw), "--as", *arguments]) in {2, 3}
        assert capsys.readouterr().err.count("\n") == 1
    assert list((tmp_path / "cache/images").glob(".import-*")) == []
