"""`images import`: what a disk says of itself without being booted, and the two files that come of it."""

from __future__ import annotations

import lzma
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from cli.main import run
from images import ImageFault, UrlEntry, load_catalogue
from images.command import find
from images.importing import import_image
from images.progress import SilentReporter
from matrix.load import load
from tests.unit.images.test_forms import expanding_vdi

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
    (tmp_path / "work").mkdir()
    made = import_image(file, "acme-9", tmp_path / "lab", tmp_path / "work", SilentReporter())
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


def test_a_disk_that_expands_is_refused_before_it_is_looked_into(tmp_path: Path) -> None:
    with pytest.raises(ImageFault, match="refused, expands to"):
        imported(expanding_vdi(tmp_path / "bomb.vdi", 100), tmp_path)
    assert list((tmp_path / "work").iterdir()) == []


def _tar(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return path


def test_what_is_no_disk_is_refused_with_what_it_is(tmp_path: Path) -> None:
    cd = bytearray(64 * 1024)
    cd[0x8001:0x8006] = b"CD001"
    (tmp_path / "cd.iso").write_bytes(cd)
    (tmp_path / "old.qed").write_bytes(b"QED\0" + bytes(4096))
    (tmp_path / "README.md").write_text("# Not a disk\n" * 500)
    (tmp_path / "zeroes").write_bytes(bytes(MIB))
    tree = _tar(tmp_path / "root.tar", "etc/", "etc/os-release")
    (tmp_path / "root.tar.xz").write_bytes(lzma.compress(tree.read_bytes(), preset=0))
    files = {
        "cd.iso": "kind install",
        "old.qed": "convert it to qcow2",
        "README.md": "neither a partition table nor a file system",
        "zeroes": "neither a partition table nor a file system",
        "root.tar": "kind rootfs",
        "root.tar.xz": "kind rootfs",
        _tar(tmp_path / "acme.ova", "acme.ovf", "acme.vmdk").name: "unpack it",
    }
    for name, message in files.items():
        with pytest.raises(ImageFault, match=message):
            imported(tmp_path / name, tmp_path)
        for left in (tmp_path / "work").iterdir():
            left.unlink()
        (tmp_path / "work").rmdir()
    assert not (tmp_path / "lab").exists()


def test_a_disk_for_other_sectors_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(MIB)
        file.seek(4096)
        file.write(b"EFI PART")
    with pytest.raises(ImageFault, match="sectors of 4096 bytes"):
        imported(disk, tmp_path)


def test_a_table_counts_more_than_the_mark_of_a_former_file_system(tmp_path: Path, tree: Path) -> None:
    raw = partitioned(tmp_path / "disk.raw", tree, label="dos")
    with raw.open("r+b") as file:
        file.seek(0x438)
        file.write(b"\x53\xef")
    _, _, said = imported(raw, tmp_path)
    assert "partition table: dos" in said
    assert "system: Acme Linux 9" in said


def test_boot_code_that_looks_like_a_table_is_none(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:
        file.write(b"\xeb" * 446 + b"\xaa" * 64 + b"\x55\xaa")
        file.truncate(MIB)
        file.seek(3)
        file.write(b"NTFS")
    _, _, said = imported(raw, tmp_path)
    assert "partition table: none" in said
    assert "partition 0: 1 MiB, ntfs" in said


def test_partitions_keep_their_numbers_and_what_nothing_starts_is_left_open(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(64 * MIB)
    table = f"label: gpt\n{raw}15 : start=2048, size=20480, type=linux\n{raw}1 : start=22528, size=102400, type=linux\n"
    subprocess.run([find("sfdisk"), "-q", raw], input=table, text=True, check=True)
    _, _, said = imported(raw, tmp_path)
    assert "partition 15: 10 MiB" in said
    assert "partition 1: 50 MiB" in said
    assert "by hand: boot: nothing was found" in (tmp_path / "lab/guests/acme-9.yaml").read_text()


def test_a_rescue_system_does_not_speak_for_the_disk(tmp_path: Path, tree: Path) -> None:
    rescue = tmp_path / "rescue"
    (rescue / "etc").mkdir(parents=True)
    (rescue / "etc/fstab").touch()
    raw = partitioned(tmp_path / "disk.raw", tree)
    subprocess.run(
        [find("mke2fs"), "-q", "-F", "-t", "ext4", "-E", "offset=1048576", "-d", rescue, raw, "10240k"], check=True
    )
    _, guest, said = imported(raw, tmp_path)
    assert guest["name"] == "Acme Linux 9 ?[31m"
    assert "in partition 2" in said


def test_a_version_that_looks_like_a_number_is_text(tmp_path: Path, tree: Path) -> None:
    (tree / "usr/lib/os-release").write_text("ID=acme\nNAME=Acme\nVERSION_ID=1.5e10\n")
    imported(partitioned(tmp_path / "disk.raw", tree), tmp_path)
    assert load([tmp_path / "lab"]).guests["acme-9"].version == "1.5e10"


def test_a_path_that_no_entry_can_name_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "my disk.qcow2"
    file.write_bytes(b"no disk either")
    with pytest.raises(ImageFault, match="without spaces"):
        imported(file, tmp_path)


def test_where_the_guest_cannot_be_written_the_image_is_not_either(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/guests").write_text("in the way")
    with pytest.raises(ImageFault, match="lab/guests"):
        imported(partitioned(tmp_path / "disk.raw", tree), tmp_path)
    assert list((tmp_path / "lab/images").iterdir()) == []


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
    assert list((tmp_path / "cache/images/work").iterdir()) == []
