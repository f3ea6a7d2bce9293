"""The catalogue: what is shipped is valid, and what people get wrong is named by file, line and field."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest

from images import ImageFault, PlannedBuild, PublishedEntry, UrlEntry, load_catalogue
from images.build import _check_initramfs
from images.disk import DiskIds
from images.keys import IdentityKeys
from images.model import BuildEntry, Initramfs, Recipe
from images.tree import write_early, write_late
from matrix.load import load
from matrix.mistakes import Mistakes

_URL = """\
kind: url
id: mine
name: My appliance
origin: us
url: disk.qcow2
sha256: "{}"
""".format("0" * 64)

_BUILD = """\
kind: build
id: mine
name: Mine
origin: us
recipe: debian
suite: bookworm
kernel: linux-image-cloud-amd64
"""


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """An overlay folder with room for entries and recipes."""
    (tmp_path / "images/recipes").mkdir(parents=True)
    return tmp_path


def _write(overlay: Path, text: str, name: str = "mine") -> None:
    (overlay / "images" / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_what_is_shipped_is_valid_and_says_what_it_changes() -> None:
    catalogue = load_catalogue()
    assert {"debian-12", "debian-13"} <= set(catalogue)
    for source in catalogue.values():
        if isinstance(source, PlannedBuild):
            text = "\n".join(source.adjustments())
            recipe = source.recipe
            for unit in [unit for change in (*recipe.masked, *recipe.enabled) for unit in change.units]:
                assert unit in text
            for file in recipe.files:
                assert file.path in text
            for package in [package for group in recipe.packages for package in group.packages]:
                assert package in text


def test_every_vendor_image_says_where_its_digest_is_from() -> None:
    catalogue = load_catalogue()
    vendors = [source for source in catalogue.values() if isinstance(source, PublishedEntry)]
    assert len(vendors) >= 20
    for entry in vendors:
        pinned = entry.sha256 or entry.sha512
        # What nobody compared with the vendor's list says so, until `images pin` did.
        assert entry.digest_from if pinned else entry.checksums, entry.id
        assert entry.url.startswith("https://"), entry.id
        if entry.checksums and entry.checksums.signature:
            assert entry.checksums.signature.key in catalogue.vendor_keys


RUN_HERE = {
    *("debian-11", "debian-12", "debian-13", "debian-testing", "debian-sid", "debian-12-backports", "minimal"),
    *("debian-12-sysvinit", "debian-12-openrc", "debian-12-cloud-init", "debian-12-uefi", "debian-12-secure-boot"),
    *("debian-12-ignition", "debian-13-installed"),
}
"""Guests that whole profiles have been run on with this checkout; every other one must say that it was not."""


def test_every_guest_that_nobody_ran_here_is_left_out_of_a_plain_run() -> None:
    matrix = load()
    assert {guest.id for guest in matrix.guests.values() if not guest.never_run_here} == RUN_HERE
    assert [guest.id for guest in matrix.guests.values() if guest.by_default] == ["debian-12", "debian-13"]
    catalogue = load_catalogue()
    assert {guest.image for guest in matrix.guests.values()} <= set(catalogue)


def test_what_a_suite_does_not_have_is_left_out_of_its_recipe() -> None:
    catalogue = load_catalogue()
    older, newer = catalogue["debian-11"], catalogue["debian-12"]
    assert isinstance(older, PlannedBuild)
    assert isinstance(newer, PlannedBuild)
    packages = [{name for group in plan.recipe.packages for name in group.packages} for plan in (older, newer)]
    assert packages[1] - packages[0] == {"util-linux-extra"}
    assert packages[0] < packages[1]
    assert older.recipe.masked == newer.recipe.masked


def test_an_image_that_is_seeded_has_no_keys_of_its_own(tmp_path: Path) -> None:
    catalogue = load_catalogue()
    keys = IdentityKeys(tmp_path)
    files = {}
    for name in ("debian-12", "debian-12-cloud-init", "debian-12-ignition"):
        plan = catalogue[name]
        assert isinstance(plan, PlannedBuild)
        write_late(tmp_path / name, plan, keys, DiskIds.of("0" * 64))
        with tarfile.open(tmp_path / name) as tar:
            files[name] = {member.name.lstrip("./") for member in tar}
    identity = {"root/.ssh/authorized_keys", "etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key.pub"}
    assert identity <= files["debian-12"]
    for name in ("debian-12-cloud-init", "debian-12-ignition"):
        assert not identity & files[name]
        seeded = catalogue[name]
        assert isinstance(seeded, PlannedBuild)
        dropped = {path for drop in seeded.recipe.dropped for path in drop.paths}
        assert {f"/{path}" for path in identity} - dropped == {"/root/.ssh/authorized_keys"}


def test_a_kernel_of_another_suite_and_an_expired_release_are_told() -> None:
    catalogue = load_catalogue()
    told = {name: "\n".join(catalogue[name].adjustments()) for name in ("debian-12-backports", "debian-sid")}  # type: ignore[union-attr]
    assert "from bookworm-backports" in told["debian-12-backports"]
    assert "may have expired" in told["debian-sid"]


def test_the_initramfs_is_configured_for_what_makes_it(tmp_path: Path) -> None:
    catalogue = load_catalogue()
    files = {}
    for name in ("debian-13", "debian-testing"):
        plan = catalogue[name]
        assert isinstance(plan, PlannedBuild)
        write_early(tmp_path / name, plan.recipe.initramfs)
        with tarfile.open(tmp_path / name) as tar:
            files[name] = {
                member.name: (tar.extractfile(member) or io.BytesIO()).read().decode()
                for member in tar
                if member.isreg()
            }
    assert set(files["debian-13"]) == {"etc/initramfs-tools/conf.d/guestcert", "etc/initramfs-tools/hooks/guestcert"}
    (written,) = files["debian-testing"].items()
    assert written[0] == "etc/dracut.conf.d/guestcert.conf"
    assert {'hostonly="no"', 'compress="zstd"'} < set(written[1].splitlines())
    assert " virtio_blk " in next(line for line in written[1].splitlines() if line.startswith("drivers="))
    assert 'remove_items+=" /usr/lib/x86_64-linux-gnu/libbpf.so.1 "' in written[1].splitlines()
    told = "\n".join(catalogue["debian-testing"].adjustments())  # type: ignore[union-attr]
    assert "initramfs by dracut, MODULES=list, zstd, without hwdb, " in told


def test_settings_that_nobody_reads_are_no_image() -> None:
    wanted = Initramfs(tool="dracut", reason="why not")
    _check_initramfs(wanted, {"usr/bin/dracut", "boot/vmlinuz-1"})
    _check_initramfs(None, set())
    with pytest.raises(ImageFault, match="has no dracut, which its recipe configures"):
        _check_initramfs(wanted, {"usr/sbin/mkinitramfs"})


def test_a_loader_for_a_bios_is_told() -> None:
    catalogue = load_catalogue()
    told = {name: "SYSLINUX" in "\n".join(catalogue[name].adjustments()) for name in ("debian-12", "debian-11")}
    assert told == {"debian-12": True, "debian-11": False}


@pytest.mark.parametrize(
    ("recipe", "other", "what"), [("lab-xen", "bios", "UEFI"), ("lab-xen-intel", "uefi", "a BIOS")]
)
def test_each_xen_is_started_in_its_own_way(overlay: Path, recipe: str, other: str, what: str) -> None:
    _write(overlay, _BUILD.replace("recipe: debian", f"recipe: {recipe}") + "loaders: [uefi, bios]\n")
    message = rf"mine\.yaml:8: loaders: must not have {other}: the recipe's Xen starts from {what} only"
    with pytest.raises(Mistakes, match=message):
        load_catalogue([overlay])


def test_a_relative_path_counts_from_its_file(overlay: Path) -> None:
    _write(overlay, _URL)
    entry = load_catalogue([overlay])["mine"]
    assert isinstance(entry, UrlEntry)
    assert entry.url == str(overlay / "images/disk.qcow2")


def test_a_later_overlay_wins(overlay: Path) -> None:
    _write(overlay, _URL.replace("id: mine", "id: debian-12"), "debian-12")
    assert isinstance(load_catalogue([overlay])["debian-12"], UrlEntry)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("missing", "missing: is not a folder"),
        ("empty", "empty: holds no matrix data; expected one of "),
        ("file", "file/images: must be a folder"),
        ("ending", "ending/images/mine.yml: must end in .yaml"),
    ],
)
def test_a_folder_that_describes_nothing_is_refused(tmp_path: Path, given: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").mkdir()
    (tmp_path / "file/images").write_text("x")
    (tmp_path / "ending/images").mkdir(parents=True)
    (tmp_path / "ending/images/mine.yml").write_text(_URL)
    with pytest.raises(Mistakes, match=re.escape(f"{tmp_path}/{message}")) as caught:
        load_catalogue([tmp_path / given])
    assert "\n" not in str(caught.value)


def test_a_recipe_extends_another(overlay: Path) -> None:
    (overlay / "images/recipes/lab.yaml").write_text(
        "id: lab\nextends: debian\npackages:\n  - packages: [xen-system-amd64]\n    reason: the hypervisor\n",
        encoding="utf-8",
    )
    _write(overlay, _BUILD.replace("recipe: debian", "recipe: lab"))
    source = load_catalogue([overlay])["mine"]
    assert isinstance(source, PlannedBuild)
    packages = [package for group in source.recipe.packages for package in group.packages]
    assert "xen-system-amd64" in packages
    assert "openssh-server" in packages
    assert source.recipe.masked == load_catalogue()["debian-12"].recipe.masked  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("id: mine", "id: ../mine", 2, "must be an id"),
        ("id: mine", "id: other", 2, "must be 'mine' like the file's name"),
        ("recipe: debian", "recipe: ../../etc/passwd", 5, "must be an id"),
        ("recipe: debian", "recipe: debain", 5, "did you mean 'debian'"),
        ("suite: bookworm", "suite: bookworm; rm -rf /", 6, "must be a suite"),
        ("suite: bookworm", "suite: -oDebug", 6, "must be a suite"),
        ("kernel: linux-image-cloud-amd64", "kernel: $(reboot)", 7, "must be a package name"),
        ("kernel: linux-image-cloud-amd64", "kernel: a,b", 7, "must be a package name"),
        ("kernel: linux-image-cloud-amd64", "kernal: linux", 7, "did you mean 'kernel'"),
        ("kind: build", "kind: built", 1, "must be"),
        ("origin: us", 'origin: us\nmirror: "http://x/ [trusted=yes]"', 5, "must be an address"),
        ("origin: us", "origin: us\nmirror: /etc/shadow", 5, "must be an address"),
        ("origin: us", 'origin: us\nkernel_command_line: ["a\' }"]', 5, "must be one kernel argument"),
        ("origin: us", "origin: us\ndisk: {size_gib: 9999}", 5, "must be at most 64"),
        ("origin: us", "origin: us\narch: armv7", 5, "must be"),
    ],
)
def test_mistakes_in_a_build_are_named(overlay: Path, old: str, new: str, line: int, message: str) -> None:
    _write(overlay, _BUILD.replace(old, new))
    with pytest.raises(Mistakes) as caught:
        load_catalogue([overlay])
    named = [text for text in str(caught.value).splitlines() if message in text]
    assert len(named) == 1, str(caught.value)
    assert named[0].startswith(f"{overlay}/images/mine.yaml:{line}: ")


@pytest.mark.parametrize(
    ("old", "new", "where", "message"),
    [
        ('sha256: "' + "0" * 64 + '"\n', "", "1: ", "exactly one of sha256 and sha512"),
        ('sha256: "' + "0" * 64, 'sha256: "' + "0" * 63, "6: sha256: ", "64 lower-case hexadecimal"),
        ("url: disk.qcow2", "url: disk qcow2", "5: url: ", "without spaces"),
        ("url: disk.qcow2", "url: ftp://acme.invalid/disk.qcow2", "5: url: ", "http"),
        ("url: disk.qcow2", "url: file://acme.invalid/disk.qcow2", "5: url: ", "http"),
        ("url: disk.qcow2", "url: disk.qcow2\nformat: qed", "6: format: ", "must be"),
        ("url: disk.qcow2", "url: disk.qcow2\nformt: raw", "6: formt: ", "did you mean 'format'"),
        ("origin: us\n", "", "1: origin: ", "is missing"),
        (
            "url: disk.qcow2",
            "url: disk.qcow2\nchecksums: {url: SUMS,\n  style: gun}",
            "7: checksums.style: ",
            "must be 'gnu', 'bsd', 'bare' or 'json', not 'gun'",
        ),
    ],
)
def test_mistakes_in_an_address_are_named(overlay: Path, old: str, new: str, where: str, message: str) -> None:
    _write(overlay, _URL.replace(old, new))
    with pytest.raises(Mistakes) as caught:
        load_catalogue([overlay])
    named = [text for text in str(caught.value).splitlines() if message in text]
    assert len(named) == 1, str(caught.value)
    assert named[0].startswith(f"{overlay}/images/mine.yaml:{where}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("files", [{"path": "/etc/../root/x", "content": "", "reason": "why not"}]),
        ("files", [{"path": "etc/x", "content": "", "reason": "why not"}]),
        ("files", [{"path": "/etc/$(x)", "content": "", "reason": "why not"}]),
        ("files", [{"path": "/etc/x", "content": "", "mode": "0999", "reason": "why not"}]),
        ("files", [{"path": "/etc/x", "content": ""}]),
        ("masked", [{"units": ["a.service; reboot"], "reason": "why not"}]),
        ("masked", [{"units": [], "reason": "why not"}]),
        ("masked", [{"units": ["-H.service"], "reason": "why not"}]),
        ("masked_generators", [{"generators": ["../x"], "reason": "why not"}]),
        ("dropped", [{"paths": ["/../x"], "reason": "why not"}]),
        ("initramfs", {"include": ["a b"], "reason": "why not"}),
        ("initramfs", {"omit": ["hwdb"], "reason": "why not"}),
        ("initramfs", {"install": ["/etc/x"], "reason": "why not"}),
        ("initramfs", {"remove": ["/usr/lib/x"], "reason": "why not"}),
        ("initramfs", {"tool": "dracut", "install": ['/etc/x" ; y="'], "reason": "why not"}),
        ("initramfs", {"tool": "dracut", "modules": "dep", "reason": "why not"}),
    ],
)
def test_a_recipe_cannot_leave_its_guest(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="1 validation error"):
        Recipe.model_validate({"id": "x", field: value})


def test_recipes_that_extend_each_other_are_named(overlay: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        (overlay / f"images/recipes/{one}.yaml").write_text(f"id: {one}\nextends: {other}\n", encoding="utf-8")
    with pytest.raises(Mistakes, match="must not extend itself"):
        load_catalogue([overlay])


def test_the_key_follows_recipe_and_entry(tmp_path: Path) -> None:
    from images import Store

    store = Store(tmp_path)
    plan = load_catalogue()["debian-12"]
    assert isinstance(plan, PlannedBuild)
    other: BuildEntry = plan.entry.model_copy(update={"suite": "trixie"})
    assert store.key_of(plan) != store.key_of(plan.model_copy(update={"entry": other}))
    assert store.key_of(plan) != store.key_of(plan.model_copy(update={"recipe": Recipe(id="debian")}))
    assert store.key_of(plan) != Store(tmp_path / "other keys").key_of(plan)
