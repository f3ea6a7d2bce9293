"""What an installer is given besides its answers: its kernel out of a medium, files in its initrd, CD-ROMs, a network."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from cli.main import run
from images import ImageFault, InstallEntry, Store, load_catalogue
from images.answers import WORD, AnswerFile, Volume
from images.initramfs import add_files
from images.install import write_volume
from images.installer_network import mirror_of_apt, proxy_of, seen_from_guest
from tests.unit.images.machine_programs import (
    POWER_OFF,
    REAL_MODE_POWER_OFF,
    kernel,
    real_mode_say,
    word,
)
from tests.unit.images.test_initramfs import entries

DONE = f"{WORD}\n".encode()


def test_files_are_added_behind_a_packed_initrd(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    packed = gzip.compress(b"070701 is what is in here")
    initrd.write_bytes(packed)
    add_files(initrd, {"preseed.cfg": b"d-i x", "guestcert/finish": b"true\n"})
    whole = initrd.read_bytes()
    begin = (len(packed) + 3) // 4 * 4
    assert whole[: len(packed)] == packed
    assert set(whole[len(packed) : begin]) <= {0}
    initrd.write_bytes(whole[begin:])
    found = entries(initrd)
    assert list(found) == ["guestcert", "preseed.cfg", "guestcert/finish"], "a folder before what is in it"
    assert found["guestcert/finish"].data == b"true\n"
    assert found["guestcert/finish"].mode & 0o777 == 0o600


def test_a_volume_has_its_label_and_files(tmp_path: Path) -> None:
    files = (AnswerFile("user-data", b"#cloud-config\n"), AnswerFile("deep/er/word", b"x"))
    write_volume(Volume("CIDATA", files), tmp_path / "answers.iso")
    described = subprocess.run(
        ["xorriso", "-indev", tmp_path / "answers.iso", "-pvd_info"], capture_output=True, text=True, check=True
    )
    assert "Volume Id    : CIDATA" in described.stdout + described.stderr
    extract = ["xorriso", "-osirrox", "on", "-indev", tmp_path / "answers.iso", "-extract", "/", tmp_path / "out"]
    subprocess.run(extract, capture_output=True, check=True)
    assert (tmp_path / "out/user-data").read_bytes() == b"#cloud-config\n"
    assert (tmp_path / "out/deep/er/word").read_bytes() == b"x"


def iso(folder: Path, files: dict[str, bytes], *boot: str) -> dict[str, str]:
    """A medium with `files`: its address and digest."""
    tree, path = folder / "tree", folder / "acme.iso"
    for name, data in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, *boot, tree], check=True, capture_output=True)
    return {"url": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def entry(**fields: object) -> InstallEntry:
    described = {"kind": "install", "id": "acme-installed", "name": "Acme", "origin": "a test", "memory_mib": 64}
    return InstallEntry.model_validate(described | {"disk_gib": 1} | fields)


@pytest.mark.parametrize("answers", ["preseed", "kickstart", "autoyast", "autoinstall"])
def test_a_kernel_is_taken_out_of_its_medium(store: Store, tmp_path: Path, answers: str) -> None:
    medium = iso(tmp_path, {"boot/vmlinuz": kernel(word(DONE), POWER_OFF), "boot/initrd": b"initrd"})
    installed = entry(answers=answers, iso=medium | {"kernel": "/boot/vmlinuz", "initrd": "/boot/initrd"})
    image = store.obtain(installed)
    assert image.adjustments[0].startswith(f"installed by the medium with sha256:{medium['sha256'][:16]}, unattended")
    assert f"({answers}, answers sha256:" in image.adjustments[0]


def test_a_kernel_that_is_not_on_the_medium_is_named(store: Store, tmp_path: Path) -> None:
    medium = iso(tmp_path, {"boot/initrd": b"initrd"})
    installed = entry(answers="preseed", iso=medium | {"kernel": "/boot/vmlinuz", "initrd": "/boot/initrd"})
    with pytest.raises(ImageFault, match="acme-installed: xorriso failed"):
        store.obtain(installed)


def test_a_medium_boots_by_itself_as_the_disk_is_empty(store: Store, tmp_path: Path) -> None:
    """As Windows' does: its loader is found by the BIOS, with the answers on a second CD-ROM and drivers on a third."""
    sector = real_mode_say(DONE, 0x2F8) + REAL_MODE_POWER_OFF
    medium = iso(
        tmp_path, {"boot.img": sector.ljust(2048, b"\0")}, "-b", "boot.img", "-no-emul-boot", "-boot-load-size", "4"
    )
    fields = {"answers": "autounattend", "product": "Windows Server 2025 SERVERSTANDARD", "disk_bus": "sata"}
    image = store.obtain(entry(iso=medium, drivers=medium, **fields))
    assert image.root_device == "/dev/sda1"


def test_relative_addresses_count_from_the_file_and_mirrors_apply(tmp_path: Path) -> None:
    folder = tmp_path / "lab/images"
    folder.mkdir(parents=True)
    (folder / "acme.yaml").write_text(
        "kind: install\nid: acme\nname: Acme\norigin: Acme\nanswers: kickstart\n"
        f"iso: {{url: acme.iso, sha256: '{'0' * 64}', kernel: /vmlinuz, initrd: /initrd.img}}\n"
        f"drivers: {{url: https://downloads.acme.invalid/drivers.iso, sha256: '{'1' * 64}'}}\n"
    )
    (tmp_path / "lab/mirrors.yaml").write_text(
        "mirrors: [{vendor: 'https://downloads.acme.invalid/', mirror: 'https://mirror.invalid/acme/'}]\n"
    )
    found = load_catalogue([tmp_path / "lab"])["acme"]
    assert isinstance(found, InstallEntry)
    assert found.files["iso"].url == str(folder / "acme.iso")
    assert found.files["drivers"].url == "https://mirror.invalid/acme/drivers.iso"


def test_an_installed_image_is_built_by_name_and_listed_with_its_form(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As people type it: the command line, too, says whether KVM really works."""
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(cache))
    monkeypatch.setenv("GUESTCERT_RUNTIME_DIR", str(tmp_path / "rt"))
    monkeypatch.setenv("GUESTCERT_QEMU", "machine")
    medium = iso(tmp_path, {"vmlinuz": kernel(word(DONE), POWER_OFF), "initrd": b"initrd"})
    described = entry(answers="preseed", iso=medium | {"kernel": "/vmlinuz", "initrd": "/initrd"})
    folder = tmp_path / "lab/images"
    folder.mkdir(parents=True)
    (folder / "acme-installed.yaml").write_text(json.dumps(described.model_dump(mode="json", exclude_defaults=True)))
    assert run(["images", "build", "acme-installed", "--matrix", str(folder.parent)]) == 0
    assert "acme-installed: installing (" in capsys.readouterr().err
    assert run(["images", "list", "--json", "--matrix", str(folder.parent)]) == 0
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["id"] == "acme-installed"]
    assert (row["kind"], row["form"], row["cached"]) == ("install", "installer", True)
    assert row["adjustments"][0].startswith("installed by the medium")


# The network


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("http://127.0.0.1:3142", "http://10.0.2.2:3142"),
        ("http://localhost/debian/", "http://10.0.2.2/debian/"),
        ("https://[::1]:8080/x", "https://10.0.2.2:8080/x"),
        ("http://mirror.example:80/debian", "http://mirror.example:80/debian"),
        ("http://127.0.0.1.example/", "http://127.0.0.1.example/"),
    ],
)
def test_this_machine_has_another_name_for_its_guest(here: str, there: str) -> None:
    assert seen_from_guest(here) == there


@pytest.mark.parametrize("proxy", ["http://[x", "http://localhost:99999"])
def test_a_proxy_that_is_none_is_one_line(proxy: str) -> None:
    with pytest.raises(ImageFault, match="mirror or proxy is not understood"):
        seen_from_guest(proxy)


def test_a_proxy_is_the_environments_before_it_is_apts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt.conf").write_text('Acquire::http::Proxy "http://127.0.0.1:3142";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    assert proxy_of({}) == "http://127.0.0.1:3142"
    assert proxy_of({"http_proxy": "http://proxy.example:8080"}) == "http://proxy.example:8080"
    (tmp_path / "apt.conf").write_text('Acquire::http::Proxy "DIRECT";\n')
    assert proxy_of({}) is None


def test_apt_has_no_mirror_of_a_suite_that_nobody_publishes() -> None:
    assert mirror_of_apt("no-such-suite") is None
