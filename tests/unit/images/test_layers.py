"""Root file systems out of tars that vendors, or enemies, made: what comes out is confined, what is hostile is refused."""

from __future__ import annotations

import io
import stat
import tarfile
import tracemalloc
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


def test_a_layers_folder_replaces_a_link_to_one(tar_of: Callable[..., Path], tmp_path: Path) -> None:
    lower = tar_of(("run/", "dir"), ("run/kept", b"1"), ("var/run", ("link", "/run")))
    upper = tar_of(("var/run/", "dir"), ("var/run/new", b"2"))
    flat = written(lay(lower, upper, whiteouts=True), tmp_path)
    assert flat["var/run"].isdir()
    assert {"run/kept", "var/run/new"} <= set(flat)
    assert "run/new" not in flat
    # A plain archive is laid as tar lays it.
    assert {"run/kept", "run/new"} <= set(written(lay(lower, upper), tmp_path))


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
        ([("d/" * 2048 + "x", b"x")], "has a name of 4097 characters"),
        ([("x", ("link", "./" * 2048))], "has a name of 4096 characters"),
        ([("x", ("link", "y" * 256))], "has a name of 256 characters"),
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
    with pytest.raises(ImageFault, match="has headers of more than"):
        lay(path)


def member_with(path: Path, pax: dict[str, str], content: bytes = b"") -> Path:
    """A tar of the file etc/x with these fields in its pax header."""
    info = tarfile.TarInfo("etc/x")
    info.pax_headers, info.size = pax, len(content)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("pax", "said"),
    [
        ({"mtime": "nan"}, "has the time nan"),
        ({"mtime": "inf"}, "has the time inf"),
        ({"size": "-512"}, "has the size -512"),
        ({"path": "etc/pass\0wd"}, r"has the name 'etc/pass\x00wd'"),
        ({"SCHILY.xattr.security.capability": "c" * 100}, "has capabilities of more than"),
    ],
)
def test_fields_that_no_file_has_are_refused(tmp_path: Path, pax: dict[str, str], said: str) -> None:
    with pytest.raises(ImageFault) as caught:
        lay(member_with(tmp_path / "in.tar", pax)).write(tmp_path / "flat.tar")
    assert said in str(caught.value)


@pytest.mark.parametrize("mode", [b"\xff" * 8, b"\x80\0\0\x02\0\0\0\0", b"\x80\x7f" + b"\xff" * 6])
def test_a_mode_that_no_file_has_is_refused(tmp_path: Path, mode: bytes) -> None:
    header = bytearray(tarfile.TarInfo("etc/x").tobuf(tarfile.GNU_FORMAT))
    header[100:108], header[148:156] = mode, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "in.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(ImageFault, match="has the mode"):
        lay(tmp_path / "in.tar").write(tmp_path / "flat.tar")


def sparse(path: Path, pieces: str, size: int) -> Path:
    """A tar of a sparse file (GNU format 1.0) of `size` bytes whose map is `pieces`, and 512 bytes of content."""
    pairs = pieces.count("\n") // 2
    content = f"{pairs}\n{pieces}".encode()
    content += bytes(-len(content) % 512) + b"x" * 512
    fields = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "etc/x"}
    return member_with(path, fields | {"GNU.sparse.realsize": str(size)}, content)


def test_a_sparse_file_is_what_its_map_says(tmp_path: Path) -> None:
    tree = lay(sparse(tmp_path / "in.tar", "512\n512\n2048\n0\n", 2048))
    assert tree.read("/etc/x") == bytes(512) + b"x" * 512 + bytes(1024)


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ("0\n0\n" * 300_000, "has headers of more than"),
        ("1024\n512\n0\n512\n", "not one after the other"),
        ("0\n512\n256\n512\n", "not one after the other"),
        ("0\n-512\n", "not one after the other"),
        ("0\n1048576\n", "not one after the other"),
        ("0\n65536\n", "is not a whole tar file"),
    ],
    ids=["many", "unsorted", "overlapping", "negative", "too long", "cut off"],
)
def test_sparse_files_whose_maps_do_not_fit_are_refused(tmp_path: Path, pieces: str, said: str) -> None:
    path = sparse(tmp_path / "in.tar", pieces, 65536)
    with pytest.raises(ImageFault) as caught:
        lay(path).read("/etc/x")
    assert said in str(caught.value)
    with pytest.raises(ImageFault):
        lay(path).write(tmp_path / "flat.tar")


def test_headers_that_nobody_asks_for_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "in.tar"
    with path.open("wb") as file:
        for number in range(64):
            info = tarfile.TarInfo(f"x{number}")
            info.pax_headers = {"comment": "A" * 500_000, "gname": "B" * 500_000}
            file.write(info.tobuf(tarfile.PAX_FORMAT))
        file.write(bytes(1024))
    tracemalloc.start()
    tree = lay(path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tree.find("/x63") is not None
    assert kept < 2 * MIB


def test_headers_before_one_file_count_together(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"comment": "A" * 400_000}
    header = info.tobuf(tarfile.PAX_FORMAT)
    (tmp_path / "in.tar").write_bytes(header[:-512] + header + bytes(1024))
    assert lay(tmp_path / "in.tar").find("/x") is not None
    (tmp_path / "in.tar").write_bytes(header[:-512] * 9 + header + bytes(1024))
    with pytest.raises(ImageFault, match="has headers of more than"):
        lay(tmp_path / "in.tar")


def test_global_headers_have_an_end(tmp_path: Path) -> None:
    path = tmp_path / "in.tar"
    with path.open("wb") as file:
        for number in range(8):
            file.write(tarfile.TarInfo.create_pax_global_header({f"c{number}": "A" * 200_000}))
            file.write(tarfile.TarInfo(f"x{number}").tobuf())
        file.write(bytes(1024))
    with pytest.raises(ImageFault, match="has more global headers"):
        lay(path)


def test_names_that_fill_the_memory_are_refused(tar_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("images.untrusted_tar.MAX_KEPT", 1000)
    lower, upper = (tar_of(*((f"{name}{number:0>60}", b"") for number in range(9))) for name in "ab")
    assert lay(lower).find(f"/a{0:0>60}") is not None
    with pytest.raises(ImageFault, match="take more than 1000 bytes"):
        lay(lower, upper)


def test_a_way_through_chained_links_has_an_end(tar_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_MAX_STEPS", 1_000_000)
    links: list[Entry] = [("l0/", "dir")]
    links += [(f"l{number}", ("link", "./" * 2040 + f"l{number - 1}")) for number in range(1, 40)]
    with pytest.raises(ImageFault, match="too long"):
        lay(tar_of(*links, *((f"l39/f{number}", b"") for number in range(100))))


def test_folders_that_only_names_tell_of_count_as_files(
    tar_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "MAX_ENTRIES", 100)
    with pytest.raises(ImageFault, match="more than 100 files"):
        lay(tar_of(("d/" * 200 + "x", b"")))


def test_paths_that_links_make_too_long_are_refused(tar_of: Callable[..., Path], tmp_path: Path) -> None:
    deep = "d/" * 1500
    tree = lay(tar_of((deep, "dir"), ("l", ("link", deep)), (f"l/{deep}x", b"")))
    with pytest.raises(ImageFault, match="too long"):
        tree.write(tmp_path / "flat.tar")


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
