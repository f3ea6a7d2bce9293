"""Root file systems out of tars that vendors, or enemies, made: what comes out is confined, what is hostile is refused."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from images import ImageFault, layers
from images.layers import Tree

Entry = tuple[str, object]
"""A name, and bytes (a file), "dir", ("link", target), ("hard", target) or another tar type."""

MIB = 1024**2


@pytest.fixture
def tar_of(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tar of these entries."""
    numbers = iter(range(1000))

    def make(*entries: Entry) -> Path:
        path = tmp_path / f"{next(numbers)}.tar"
        with tarfile.open(path, "w") as tar:
            for name, what in entries:
                info = tarfile.TarInfo(name)
                data = b""
                if isinstance(what, bytes):
                    data, info.size = what, len(what)
                elif what == "dir":
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                elif isinstance(what, tuple):
                    info.type = tarfile.SYMTYPE if what[0] == "link" else tarfile.LNKTYPE
                    info.linkname = what[1]
                else:
                    assert what in {tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"} or what == "odd"
                    info.type = b"Z" if what == "odd" else what  # type: ignore[assignment]
                tar.addfile(info, io.BytesIO(data))
        return path

    return make


def device(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor = kind, 8, 0
    return info


def written(tree: Tree, tmp_path: Path) -> dict[str, tarfile.TarInfo]:
    """What the tree is as one tar, by name."""
    tree.write(tmp_path / "flat.tar")
    with tarfile.open(tmp_path / "flat.tar") as tar:
        return {member.name: member for member in tar}


def lay(*archives: Path, limit: int = 64 * MIB, whiteouts: bool = False) -> Tree:
    tree = Tree(limit)
    for archive in archives:
        tree.lay(archive, whiteouts=whiteouts)
    return tree


def test_names_reach_where_links_of_the_tree_lead(tar_of: Callable[..., Path], tmp_path: Path) -> None:
    archive = tar_of(
        ("./usr/lib/", "dir"),
        ("./lib", ("link", "usr/lib")),
        ("./abs", ("link", "/usr")),
        ("./lib/a", b"a"),
        ("./abs/lib/b", b"b"),
        ("./lib/", "dir"),
        ("./outside", ("link", "/etc/passwd")),
    )
    flat = written(lay(archive), tmp_path)
    assert {"usr/lib/a", "usr/lib/b", "lib", "abs", "outside"} <= set(flat)
    assert not any(name.startswith(("lib/", "abs/")) for name in flat)
    # A link may lead anywhere: it is the guest who follows it.
    assert flat["outside"].linkname == "/etc/passwd"


def test_files_keep_owner_mode_and_links_between_names(tmp_path: Path) -> None:
    path = tmp_path / "in.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("sbin/tool")
        info.mode, info.uid, info.gid, info.mtime, info.size = 0o4755, 1, 70_000, 10**9, 3
        info.pax_headers = {"SCHILY.xattr.security.capability": "c", "SCHILY.xattr.trusted.overlay.opaque": "y"}
        tar.addfile(info, io.BytesIO(b"abc"))
        other = tarfile.TarInfo("sbin/same")
        other.type, other.linkname = tarfile.LNKTYPE, "sbin/tool"
        tar.addfile(other)
    flat = written(lay(path), tmp_path)
    one, two = sorted((flat["sbin/tool"], flat["sbin/same"]), key=lambda member: member.islnk())
    assert (stat.S_IMODE(one.mode), one.uid, one.gid, one.mtime, one.size) == (0o4755, 1, 70_000, 10**9, 3)
    assert one.pax_headers.get("SCHILY.xattr.security.capability") == "c"
    assert "SCHILY.xattr.trusted.overlay.opaque" not in one.pax_headers
    assert two.linkname == one.name


def test_layers_hide_what_is_below_them(tar_of: Callable[..., Path], tmp_path: Path) -> None:
    lower = tar_of(("etc/gone", b"1"), ("etc/kept", b"2"), ("doc/old", b"3"), ("etc/twin", ("hard", "etc/gone")))
    upper = tar_of(
        ("etc/.wh.gone", b""),
        ("doc/.wh..wh..opq", b""),
        ("doc/new", b"4"),
        ("etc/.wh.nothing", b""),
        ("etc/kept", b"5"),
    )
    tree = lay(lower, upper, whiteouts=True)
    flat = written(tree, tmp_path)
    assert {name for name in flat if not flat[name].isdir()} == {"etc/kept", "etc/twin", "doc/new"}
    assert tree.read("/etc/kept") == b"5"
    assert tree.read("/etc/twin") == b"1"
    # In an archive that is no layer such a name is a name.
    assert "etc/.wh.gone" in written(lay(lower, upper), tmp_path)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([("../etc/cron.d/x", b"x")], "has the path '../etc/cron.d/x'"),
        ([("a/../../x", b"x")], "has the path"),
        ([("/etc/passwd", b"x")], "has the absolute path"),
        ([("out", ("link", "../../..")), ("out/x", b"x")], "leads out of the tree"),
        ([("a", ("link", "b")), ("b", ("link", "a")), ("a/x", b"x")], "lead in a circle"),
        ([("x", ("hard", "/etc/shadow"))], "has the absolute path"),
        ([("x", ("hard", "../../etc/shadow"))], "has the path"),
        ([("x", ("hard", "not/there"))], "which is no file in it"),
        ([("d/", "dir"), ("x", ("hard", "d"))], "which is no file in it"),
        ([("file", b"x"), ("file/below", b"x")], "below what is no folder"),
        ([("x" * 300, b"x")], "has a name of 300 characters"),
        ([("odd", "odd")], "unknown type"),
        ([("big", b"x" * 2 * MIB)], "files have more than 1048576 bytes"),
    ],
)
def test_hostile_archives_are_refused(tar_of: Callable[..., Path], entries: list[Entry], said: str) -> None:
    with pytest.raises(ImageFault) as caught:
        lay(tar_of(*entries), limit=MIB)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_device_nodes_are_left_to_the_kernel_or_refused(tmp_path: Path, kind: bytes) -> None:
    for name in ("dev/sda", "srv/disk"):
        with tarfile.open(tmp_path / "in.tar", "w") as tar:
            tar.addfile(device(name, kind))
        if name == "dev/sda":
            tree = lay(tmp_path / "in.tar")
            assert tree.devices_left_out == 1
            assert "dev/sda" not in written(tree, tmp_path)
        else:
            with pytest.raises(ImageFault, match="has the device node 'srv/disk'"):
                lay(tmp_path / "in.tar")


def test_a_sparse_file_counts_with_the_size_it_claims(tmp_path: Path) -> None:
    path = tmp_path / "in.tar"
    info = tarfile.TarInfo("bomb")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": str(8 * 1024**4),
        "GNU.sparse.name": "bomb",
    }
    content = b"1\n0\n1\n".ljust(512, b"\0") + b"x".ljust(512, b"\0")
    info.size = len(content)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ImageFault, match="more than"):
        lay(path)


def test_too_many_files_are_refused_before_they_are_kept(
    tar_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "MAX_ENTRIES", 10)
    assert lay(tar_of(*((f"f{number}", b"") for number in range(10)))).find("/f9") is not None
    with pytest.raises(ImageFault, match="more than 10 files"):
        lay(tar_of(*((f"f{number}", b"") for number in range(11))))


def test_a_header_that_wants_all_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    path = tmp_path / "in.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(ImageFault, match="has a header of"):
        lay(path)


@pytest.mark.parametrize("keep", [0, 100, 700, 512 + MIB // 2])
def test_an_archive_that_is_cut_off_is_refused(tar_of: Callable[..., Path], tmp_path: Path, keep: int) -> None:
    path = tar_of(("file", b"x" * MIB))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ImageFault, match="is not a whole tar"):
        lay(path).write(tmp_path / "flat.tar")


def test_what_is_put_in_stays_inside(tar_of: Callable[..., Path], tmp_path: Path) -> None:
    tree = lay(tar_of(("etc", ("link", "/real")), ("real/", "dir"), ("root", ("link", "../../../tmp"))))
    tree.put("/etc/hostname", b"guest\n")
    assert "real/hostname" in written(tree, tmp_path)
    with pytest.raises(ImageFault, match="leads out of the tree"):
        tree.put("/root/.ssh/authorized_keys", b"key")
