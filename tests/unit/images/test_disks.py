"""Disks: what is refused before use, overlays, the layout written without root's help, seeds and keys."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from images import IdentityKeys, Image, ImageFault, Store, examine
from images.archive import Member, write_tar
from images.disk import DiskIds, RootContent, to_qcow2, write_disk
from images.model import DiskLayout
from images.seed import nocloud_iso
from tests.unit.images.conftest import MakeEntry

# capabilities(7), version 2, effective: CAP_NET_RAW permitted, as ping has it.
_CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")


def _tool(name: str) -> str:
    return shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") or name


def _output(*argv: str | Path) -> str:
    return subprocess.run([_tool(str(argv[0])), *argv[1:]], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def image(store: Store, disk: Path, entry_for: MakeEntry) -> Image:
    """A small image in the cache."""
    return store.obtain(entry_for(disk))


def test_a_good_disk_is_described(disk: Path) -> None:
    assert examine(disk, "qcow2").virtual_size == 16 * 1024**2


@pytest.mark.parametrize("content", [b"", b"MZ" * 1000, b"QFI\xfb", b"QFI\xfb" + b"\xff" * 1000])
def test_what_is_not_an_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.qcow2"
    path.write_bytes(content)
    with pytest.raises(ImageFault, match="not a") as caught:
        examine(path, "qcow2")
    assert "\n" not in str(caught.value)


def test_a_backing_file_is_refused(tmp_path: Path, disk: Path) -> None:
    path = tmp_path / "x.qcow2"
    _output("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, path)
    with pytest.raises(ImageFault, match="backing file"):
        examine(path, "qcow2")


def test_an_external_data_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.qcow2"
    _output("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", path, "1M")
    with pytest.raises(ImageFault, match="external data file"):
        examine(path, "qcow2")


def test_an_absurd_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.qcow2"
    _output("qemu-img", "create", "-q", "-f", "qcow2", path, "3T")
    with pytest.raises(ImageFault, match="claims a size"):
        examine(path, "qcow2")


def test_a_raw_disk_is_never_taken_for_what_it_contains(tmp_path: Path, disk: Path) -> None:
    path = tmp_path / "x.raw"
    _output("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, path)
    # qemu-img rounds a raw disk up to whole sectors.
    assert 0 <= examine(path, "raw").virtual_size - path.stat().st_size < 512


def test_a_refused_image_does_not_enter_the_cache(
    store: Store, cache: Path, tmp_path: Path, disk: Path, entry_for: MakeEntry
) -> None:
    path = tmp_path / "x.qcow2"
    _output("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, path)
    with pytest.raises(ImageFault, match="backing file"):
        store.obtain(entry_for(path))
    assert list((cache / "images/objects").iterdir()) == []


@pytest.mark.parametrize("as_root", [True, False])
def test_a_disk_is_written_without_mounting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_root: bool) -> None:
    if as_root and os.geteuid() != 0:
        pytest.skip("needs root")
    if not as_root:
        # The way an ordinary user's disk is written, also when root runs the tests.
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    archive, late, esp = tmp_path / "root.tar", tmp_path / "late.tar", tmp_path / "esp"
    with tarfile.open(archive, "w") as tar:
        for name, mode, owner in (("./etc", 0o755, 0), ("./home", 0o711, 1234)):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
            tar.addfile(info)
        capable = tarfile.TarInfo("./capable")
        capable.pax_headers = {"SCHILY.xattr.security.capability": _CAP_NET_RAW.decode("utf-8", "surrogateescape")}
        tar.addfile(capable)
    write_tar(tmp_path / "more.tar", [Member("/etc/secret", "unpinned"), Member("/etc/kept", "old")])
    _output("tar", "--concatenate", "-f", archive, tmp_path / "more.tar")
    # mmdebstrap's archives name their members "./etc/...".
    listed = _output("tar", "-tf", archive)
    assert "etc/secret" in listed
    write_tar(late, [Member("/etc/kept", "new", 0o600), Member("/root/.ssh/authorized_keys", "key", 0o600)])
    (esp / "EFI/BOOT").mkdir(parents=True)
    (esp / "EFI/BOOT/BOOTX64.EFI").write_bytes(b"MZ" * 5000)
    ids = DiskIds.of("test")
    raw = tmp_path / "disk.raw"
    write_disk(raw, RootContent(archive, late, ("/etc/nothing",)), esp, DiskLayout(size_gib=1, esp_mib=40), ids)
    table = json.loads(_output("sfdisk", "--json", raw))["partitiontable"]
    assert table["label"] == "gpt"
    assert [part["uuid"].lower() for part in table["partitions"]] == [ids.esp, ids.root]
    esp_start, root_start = (part["start"] * 512 for part in table["partitions"])
    assert "BOOTX64  EFI     10000" in " ".join(_output("mdir", "-i", f"{raw}@@{esp_start}", "::/EFI/BOOT").split("\n"))
    where = f"{raw}?offset={root_start}"
    assert "clean" in _output("dumpe2fs", "-h", where)
    _output("e2fsck", "-fn", where)
    home = _output("debugfs", "-R", "stat /home", where)
    assert "User:  1234   Group:  1234" in home
    kept = _output("debugfs", "-R", "stat /etc/kept", where)
    assert "User:     0" in kept
    assert "Mode:  0600" in kept
    assert _output("debugfs", "-R", "cat /etc/kept", where) == "new"
    assert "security.capability" in _output("debugfs", "-R", "stat /capable", where)
    value = tmp_path / "value"
    _output("debugfs", "-R", f"ea_get -f {value} /capable security.capability", where)
    assert value.read_bytes() == _CAP_NET_RAW
    assert "Mode:  0700" in _output("debugfs", "-R", "stat /root/.ssh", where)
    to_qcow2(raw, tmp_path / "disk.qcow2")
    assert examine(tmp_path / "disk.qcow2", "qcow2").virtual_size == 1024**3


def test_ids_follow_the_key() -> None:
    assert DiskIds.of("a") == DiskIds.of("a")
    assert DiskIds.of("a").root != DiskIds.of("b").root


def test_a_seed_carries_the_pinned_keys(image: Image, tmp_path: Path) -> None:
    iso = tmp_path / "seed.iso"
    nocloud_iso(iso, image, "guest: {x}", "id-1")
    assert stat.S_IMODE(iso.stat().st_mode) == 0o600
    out = tmp_path / "out"
    _output("xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", out)
    text = (out / "user-data").read_text(encoding="utf-8")
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    assert data["hostname"] == "guest: {x}"
    assert data["ssh_keys"]["ed25519_public"] == image.host_public_key
    assert data["ssh_keys"]["ed25519_private"] == image.host_private_key.read_text(encoding="ascii")
    assert data["ssh_authorized_keys"] == [image.ssh_public_key]
    assert "packages" not in data  # cloud-init's schema wants at least one
    assert "ssh_pwauth" not in data  # said at all, it has cloud-init start sshd again in the middle of the boot
    assert yaml.safe_load((out / "meta-data").read_text(encoding="utf-8"))["instance-id"] == "id-1"
    assert [each.name for each in tmp_path.glob(".seed-*")] == []


def test_a_seed_may_ask_for_packages(image: Image, tmp_path: Path) -> None:
    nocloud_iso(tmp_path / "seed.iso", image, "guest", "id-1", packages=("fio",))
    _output("xorriso", "-osirrox", "on", "-indev", tmp_path / "seed.iso", "-extract", "/", tmp_path / "out")
    data = yaml.safe_load((tmp_path / "out" / "user-data").read_text(encoding="utf-8"))
    assert (data["package_update"], data["packages"]) == (True, ["fio"])


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    first, second = IdentityKeys(tmp_path), IdentityKeys(tmp_path)
    assert first.client == second.client
    assert first.client.public != first.host.public
    assert first.client.public.startswith("ssh-ed25519 AAAA")
    assert stat.S_IMODE(first.client.private.stat().st_mode) == 0o600
    derived = _output("ssh-keygen", "-y", "-f", first.client.private)
    assert derived.split()[:2] == first.client.public.split()


def test_a_key_others_may_read_is_refused(tmp_path: Path) -> None:
    IdentityKeys(tmp_path).host.private.chmod(0o644)
    with pytest.raises(ImageFault, match="others may read"):
        IdentityKeys(tmp_path)


def test_a_broken_key_is_one_line(tmp_path: Path) -> None:
    IdentityKeys(tmp_path).client.private.write_text("nonsense", encoding="ascii")
    with pytest.raises(ImageFault, match="not a private key"):
        IdentityKeys(tmp_path)


def test_a_key_with_a_passphrase_is_one_line(tmp_path: Path) -> None:
    _output("ssh-keygen", "-q", "-p", "-N", "geheim", "-f", IdentityKeys(tmp_path).client.private)
    with pytest.raises(ImageFault, match=r"has a passphrase, .* ssh-keygen -p -f"):
        IdentityKeys(tmp_path)


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from images import command

    monkeypatch.setattr(command, "_search_path", lambda: "/nonexistent")
    with pytest.raises(ImageFault, match="install the package qemu-utils"):
        command.find("qemu-img")
