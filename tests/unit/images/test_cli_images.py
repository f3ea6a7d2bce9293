"""`guestcert images` as people type it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.images import default_builds
from cli.main import run
from images import Store
from images.manifest import write_manifest
from tests.unit.images.conftest import MakeEntry


@pytest.fixture
def overlay(tmp_path: Path, disk: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that add the image `small`; the cache is a fresh one."""
    folder = tmp_path / "overlay/images"
    folder.mkdir(parents=True)
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    text = f"kind: url\nid: small\nname: Small\norigin: '[bold]us[/bold]'\nurl: {disk}\nsha256: '{digest}'\n"
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(cache))
    return ["--matrix", str(folder.parent)]


def test_fetch_list_verify_prune(overlay: list[str], cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["images", "list", *overlay]) == 0
    assert "not in the cache" in capsys.readouterr().out
    assert run(["images", "fetch", "small", *overlay]) == 0
    capsys.readouterr()
    assert run(["images", "list", "--json", *overlay]) == 0
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["id"] == "small"]
    assert row["cached"]
    assert row["origin"] == "[bold]us[/bold]"
    assert run(["images", "verify", "small", *overlay]) == 0
    stored = cache / "images/objects" / row["sha256"] / "disk"
    stored.chmod(0o644)
    os.truncate(stored, 70_000)
    assert run(["images", "verify", "small", *overlay]) == 1
    assert "damaged" in capsys.readouterr().out
    assert run(["images", "fetch", "small", *overlay]) == 0
    assert run(["images", "verify", "small", *overlay]) == 0
    assert run(["images", "prune", *overlay]) == 0
    assert stored.exists()
    assert run(["images", "prune", "--undescribed"]) == 0
    assert not stored.exists()
    assert "freed" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["list", "build", "fetch small", "pin small", "verify", "prune", "prune --all"])
def test_a_folder_that_is_not_there_is_refused(
    overlay: list[str], cache: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run(["images", "fetch", "small", *overlay]) == 0
    capsys.readouterr()
    assert run(["images", *command.split(), "--matrix", f"{overlay[1]}x"]) == 2
    assert capsys.readouterr().err == f"{overlay[1]}x: is not a folder\n"
    assert len(list((cache / "images/objects").iterdir())) == 1


def test_prune_leaves_the_images_of_folders_that_are_not_given(
    overlay: list[str], disk: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["images", "supply", "rhel-9", str(disk), *overlay]) == 0
    assert run(["images", "fetch", "rhel-9", *overlay]) == 0
    capsys.readouterr()
    # The shipped entry of the same id describes no image.
    assert run(["images", "prune"]) == 0
    said = capsys.readouterr().out
    assert "rhel-9: kept" in said
    assert f"give --matrix {overlay[1]} if that no longer describes it, else --undescribed" in said
    assert run(["images", "prune", *overlay]) == 0
    assert "rhel-9" not in capsys.readouterr().out
    for name in ("rhel-9", "small"):  # which has the same digest
        (Path(overlay[1]) / f"images/{name}.yaml").unlink()
    assert run(["images", "prune", *overlay]) == 0
    assert "rhel-9: removed" in capsys.readouterr().out
    assert list((cache / "images/objects").iterdir()) == []


def test_an_image_for_customers_is_supplied_as_a_file(
    disk: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(cache))
    lab = tmp_path / "lab"
    assert run(["images", "fetch", "rhel-9"]) == 3
    said = capsys.readouterr().err
    assert "customer portal" in said
    assert "then: guestcert images supply rhel-9 FILE --matrix DIR" in said
    assert run(["images", "supply", "rhel-9", str(disk), "--matrix", str(lab)]) == 0
    assert run(["images", "fetch", "rhel-9", "--matrix", str(lab)]) == 0
    assert hashlib.sha256(disk.read_bytes()).hexdigest() in capsys.readouterr().out
    disk.write_bytes(disk.read_bytes() + b"changed")
    assert run(["images", "fetch", "rhel-9", "--anew", "--matrix", str(lab)]) == 3
    assert "not used" in capsys.readouterr().err


def test_verify_without_names_reads_all_that_the_cache_holds(
    overlay: list[str], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["images", "fetch", "small", *overlay]) == 0
    (stored,) = (cache / "images/objects").glob("*/disk")
    capsys.readouterr()
    assert run(["images", "verify"]) == 0
    assert capsys.readouterr().out == f"small: sound, sha256 {stored.parent.name}\n"
    stored.chmod(0o644)
    os.truncate(stored, 70_000)
    assert run(["images", "verify"]) == 1
    assert "small: damaged" in capsys.readouterr().out
    assert run(["images", "verify"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a folder read-only needs root")
def test_a_cache_that_cannot_be_written_is_listed_and_verified(overlay: list[str], cache: Path) -> None:
    assert run(["images", "fetch", "small", *overlay]) == 0
    (stored,) = (cache / "images/objects").glob("*/disk")
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    for command, status, said in (
        (["list", "--matrix", overlay[1]], 0, stored.parent.name[:16]),
        (["verify"], 0, "small: sound"),
        (["verify"], 3, "small: damaged: disk has 70000 bytes"),
    ):
        if status:
            stored.chmod(0o644)
            os.truncate(stored, 70_000)
        argv = ["unshare", "--mount", "sh", "-c", mount, "sh", str(cache), sys.executable, "-m", "cli.main", "images"]
        done = subprocess.run([*argv, *command], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert said in done.stdout + done.stderr


def test_an_entry_of_ones_own_is_supplied_as_its_advice_says(
    overlay: list[str], disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(overlay[1]) / "images/my-os.yaml"
    own.write_text("kind: user\nid: my-os\nname: Mine\norigin: us\ninstructions: it from the shelf\n")
    assert run(["images", "fetch", "my-os", *overlay]) == 3
    said = capsys.readouterr().err
    advice = said.partition("; then: guestcert ")[2].split()
    assert said.startswith("my-os: has to be supplied: get it from the shelf; then: guestcert images supply")
    assert run([str(disk) if word == "FILE" else word for word in advice]) == 0
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    assert f"my-os: sha256 {digest}" in capsys.readouterr().out
    assert run(["images", "fetch", "my-os", *overlay]) == 0
    capsys.readouterr()
    assert run(["images", "supply", "my-os", str(disk), *overlay]) == 2
    assert "url and sha256 of its entry" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fetch", "verify", "pin"])
def test_an_image_is_named_by_its_guest_too(
    overlay: list[str], disk: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    guests, checksums = Path(overlay[1]) / "guests", disk.parent / "SHA256SUMS"
    guests.mkdir()
    (guests / "tiny.yaml").write_text("id: tiny\nname: Tiny\nvendor: us\nversion: '1'\nimage: small\n")
    checksums.write_text(f"{hashlib.sha256(disk.read_bytes()).hexdigest()}  {disk.name}\n")
    with (Path(overlay[1]) / "images/small.yaml").open("a") as entry:
        entry.write(f"checksums: {{url: {checksums}, style: gnu}}\n")
    assert run(["images", command, "tiny", *overlay]) == 0
    assert "small: " in capsys.readouterr().out
    assert run(["images", "build", "tiny", *overlay]) == 2
    use = f"guestcert images fetch small --matrix {overlay[1]}"
    assert capsys.readouterr().err == f"images: small: is fetched, not built; use: {use}\n"


def test_the_way_of_an_image_is_told_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["images", "fetch", "debian-12-secure-boot"]) == 2
    assert "is built here, not fetched; use: guestcert images build debian-12" in capsys.readouterr().err


def test_an_unpinned_entry_is_pinned_as_its_advice_says(
    overlay: list[str], disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checksums, entry = disk.parent / "SHA256SUMS", Path(overlay[1]) / "images/small.yaml"
    checksums.write_text(f"{hashlib.sha256(disk.read_bytes()).hexdigest()}  {disk.name}\n")
    entry.write_text(entry.read_text().partition("sha256")[0] + f"checksums: {{url: {checksums}, style: gnu}}\n")
    assert run(["images", "fetch", "small", *overlay]) == 3
    assert run(capsys.readouterr().err.partition("; first: guestcert ")[2].split()) == 0
    assert run(["images", "fetch", "small", *overlay]) == 0


def test_what_the_user_has_to_put_right_is_status_2(
    overlay: list[str], disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "lab/guests/acme.yaml"
    there.parent.mkdir(parents=True)
    there.write_text("")
    to = ["--as", "acme", "--to", str(tmp_path / "lab")]
    entry = Path(overlay[1]) / "images/small.yaml"
    for arguments, said in (
        (["pin", "small", *overlay], f"{entry}: checksums: is missing"),
        (["supply", "rhel-9", "/nonexistent", *overlay], "/nonexistent: No such file or directory"),
        (["supply", "rhel-9", "/dev/zero", *overlay], "/dev/zero: is not a regular file"),
        (["import", "/nonexistent", *to], "/nonexistent: No such file or directory"),
        (["import", str(disk), *to], f"{there}: exists already"),
    ):
        assert run(["images", *arguments]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith(said)
        assert shown.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["supply", "small", "x"], ["supply", "rhel-9", "/nonexistent"], ["supply", "rhel-9", "/dev/zero"]]
)
def test_what_cannot_be_supplied_is_one_line(
    overlay: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(["images", *arguments, *overlay]) in {2, 3}
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["fetch", "../small"], ["verify", "nope"], ["build", "small"], ["build", "$(reboot)"]]
)
def test_bad_names_are_one_line_and_status_2(
    overlay: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(["images", *arguments, *overlay]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_names_only_what_a_plain_run_needs_is_built(overlay: list[str]) -> None:
    assert default_builds([]) == ["debian-12", "debian-13"]
    folder = Path(overlay[1])
    (folder / "guests").mkdir()
    guest = "id: {0}\nname: Small\nvendor: us\nversion: '1'\nimage: {1}\n"
    (folder / "guests" / "one.yaml").write_text(guest.format("one", "small"))  # ready, not built
    (folder / "guests" / "two.yaml").write_text(guest.format("two", "minimal"))
    (folder / "guests" / "three.yaml").write_text(guest.format("three", "debian-11") + "on_request: true\n")
    (folder / "guests" / "debian-13.yaml").write_text(guest.format("debian-13", "debian-13") + "never_run_here: true\n")
    assert default_builds([folder]) == ["debian-12", "minimal"]


def test_a_full_listing_shows_markup_as_text(overlay: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["images", "list", *overlay]) == 0
    assert "[bold]us[/bold]" in capsys.readouterr().out


def test_a_listing_says_who_uses_an_image_and_when_it_ends(
    overlay: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(overlay[1]) / "guests"
    folder.mkdir()
    guest = "id: {0}\nname: Small\nvendor: us\nversion: '1'\nimage: small\nend_of_life: {1}\n"
    (folder / "one.yaml").write_text(guest.format("one", "2001-02-03"))
    (folder / "two.yaml").write_text(guest.format("two", "2101-02-03"))
    assert run(["images", "list", *overlay]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("small ")]
    assert "qcow2" in line
    assert "2001-02-03 (past)" in line
    assert "one, two" in line
    assert run(["images", "list", "--json", *overlay]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["small"]["guests"], rows["small"]["ended"]) == (["one", "two"], True)
    assert rows["minimal"]["form"] == "kernel + initrd"
    assert rows["freebsd-14.4"]["form"] == "qcow2.xz"


@pytest.mark.usefixtures("overlay")
def test_prune_removes_the_oldest_first_but_nothing_in_use(
    disk: Path, cache: Path, entry_for: MakeEntry, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []
    for number in range(3):
        other = disk.parent / f"{number}.qcow2"
        other.write_bytes(disk.read_bytes() + bytes([number]))
        made.append(entry_for(other, id=f"disk-{number}"))
    with closing(Store(cache)) as store:
        for entry in made:
            store.obtain(entry)
    with closing(Store(cache)) as held:
        held.obtain(made[0])
        assert run(["images", "prune", "--older-than", "1", "--down-to", "1"]) == 0
        assert "0 MiB freed" in capsys.readouterr().out
        assert run(["images", "prune", "--older-than", "1", "--down-to", "0"]) == 0
        said = capsys.readouterr().out
    assert "disk-0: kept" in said
    assert said.index("disk-1: removed") < said.index("disk-2: removed")
    with closing(Store(cache)) as store:
        assert [manifest.entry for manifest in store.manifests()] == ["disk-0"]


@pytest.mark.usefixtures("overlay")
def test_prune_counts_bytes_that_two_entries_have_once(
    disk: Path, cache: Path, entry_for: MakeEntry, capsys: pytest.CaptureFixture[str]
) -> None:
    with disk.open("r+b") as file:
        file.seek(9 * 1024**2)
        file.write(b"9")
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    size = f"{disk.stat().st_size / 1024**2:.0f} MiB"
    with closing(Store(cache)) as store:
        for name, form in (("one", "qcow2"), ("two", "raw")):
            store.obtain(entry_for(disk, id=name, format=form))
    assert run(["images", "prune", "--all"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"one: removed {digest[:12]} (another entry has the same bytes)",
        f"two: removed {digest[:12]} ({size})",
        f"{size} freed",
    ]


@pytest.mark.usefixtures("overlay")
def test_prune_by_age_removes_what_is_as_old(
    disk: Path, cache: Path, entry_for: MakeEntry, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Store(cache)) as store:
        for number, days in enumerate((3, 10)):
            other = disk.parent / f"{number}.qcow2"
            other.write_bytes(disk.read_bytes() + bytes([number]))
            entry = entry_for(other, id=f"days-{days}")
            store.obtain(entry)
            manifest = store.known(entry)
            assert manifest is not None
            old = manifest.model_copy(update={"created": datetime.now(UTC) - timedelta(days=days)})
            write_manifest(cache / "images/keys" / f"{manifest.key}.json", old)
    assert run(["images", "prune", "--older-than", "7", "--undescribed"]) == 0
    said = capsys.readouterr().out
    assert "days-10: removed" in said
    assert "days-3" not in said
    with closing(Store(cache)) as store:
        assert [manifest.entry for manifest in store.manifests()] == ["days-3"]
    assert len(list((cache / "images/objects").iterdir())) == 1
