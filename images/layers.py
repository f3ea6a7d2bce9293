"""A root file system put together from tar archives laid over each other, as a tree in memory over files of content.

What a vendor ships is data: nothing here is written to the host under a name that an archive chose. The result is one
tar in which every name is plain: no "..", no link on the way to it, every hard link to a file that is in it.
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from images.faults import ImageFault
from images.untrusted_tar import CAPABILITY, MAX_KEPT, MAX_PATH, open_tar

MAX_ENTRIES = 500_000
"""A full desktop has some 400 000 files; a tree of half a million takes some 600 MB of memory."""

_LINKS_ON_THE_WAY = 40  # as Linux does (path_resolution(7))
_MAX_STEPS = 200 * MAX_ENTRIES
"""Names that are passed to reach all files: an honest tree has paths of ten names, a hostile one a way of thousands to each."""

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"  # both: OCI image specification, layer.md, "Whiteouts"
_CHUNK = 256 * 1024


@dataclass
class Inode:
    """A file of the tree. Two names of one file share it. `children` only of folders; `tar` holds the content."""

    info: tarfile.TarInfo
    tar: tarfile.TarFile | None = None
    data: bytes = b""
    children: dict[str, Inode] | None = None

    @property
    def is_folder(self) -> bool:
        """Whether names can be below it."""
        return self.children is not None


def _folder() -> Inode:
    info = tarfile.TarInfo()
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return Inode(info, children={})


@dataclass
class Tree:
    """A root file system of at most `limit` bytes of content. Close it when its content is not needed any more."""

    limit: int
    root: Inode = field(default_factory=_folder)
    devices_left_out: int = 0
    _entries: int = 0
    _steps: int = 0
    _kept: int = 0
    _bytes: int = 0
    _open: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Close the archives."""
        self._open.close()

    def lay(self, archive: Path, *, whiteouts: bool) -> None:
        """Lay the (not packed) tar `archive` over the tree. Raises ImageFault for what is refused.

        With `whiteouts` it is a container image's layer: names that say what goes away are obeyed, and a folder replaces a link
        to one (OCI image specification, layer.md, "Changesets over existing files"). Without, such a link stays, as tar keeps
        it for archives with `lib` from one package and `usr/lib` from others.
        """
        tar = self._open.enter_context(open_tar(archive, self._kept))
        try:
            members = list(self._counted(tar))
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            raise ImageFault(f"is not a whole tar file: {error}") from error
        self._kept = tar.kept
        if whiteouts:
            for member in members:
                self._white_out(member)
        for member in members:
            if not (whiteouts and member.name.rpartition("/")[2].startswith(_WHITEOUT)):
                self._add(member, tar, replaces_links=whiteouts)

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file (absolute guest path), also over another or through links. Raises ImageFault."""
        parent, name = self._parent(path, _parts(path.lstrip("/")))
        info = tarfile.TarInfo(name)
        info.mode, info.size = mode, len(content)
        _children(parent)[name] = Inode(info, data=content)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link (absolute guest path) to any text. Raises ImageFault."""
        parent, name = self._parent(path, _parts(path.lstrip("/")))
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        _children(parent)[name] = Inode(info)

    def find(self, path: str) -> Inode | None:
        """What an absolute guest path leads to, through links; None if nowhere."""
        try:
            return self._walk(_parts(path.lstrip("/")), path, make=False)
        except ImageFault:
            return None

    def read(self, path: str, limit: int = 64 * 1024) -> bytes | None:
        """The first `limit` bytes of a regular file, None if there is none. Raises ImageFault if it is damaged."""
        inode = self.find(path)
        if inode is None or not inode.info.isreg():
            return None
        return inode.data[:limit] if inode.tar is None else _read(_content(inode), limit)

    def write(self, target: Path) -> None:
        """Write the tree as one tar. Raises ImageFault for paths that no disk can hold, OSError when the disk is full."""
        names: dict[int, str] = {}
        paths = 0
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
            _write_one(tar, "./", self.root, names)
            for path, inode in self._all("", self.root):
                # Through links they become longer than the archive had them.
                paths += len(path)
                if len(path.encode(errors="surrogateescape")) > MAX_PATH or paths > MAX_KEPT:
                    raise ImageFault(f"refused, the path {path[:100]!r}... or all paths together are too long")
                _write_one(tar, path, inode, names)

    def _all(self, prefix: str, folder: Inode) -> Iterator[tuple[str, Inode]]:
        below = [(prefix, folder)]
        while below:
            where, inode = below.pop()
            for name, child in sorted(_children(inode).items()):
                yield where + name, child
                if child.is_folder:
                    below.append((f"{where}{name}/", child))

    def _counted(self, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for member in tar:
            self._count_one()
            if member.isreg():
                self._bytes += member.size
                if self._bytes > self.limit:
                    raise ImageFault(
                        f"refused, its files have more than {self.limit} bytes (the entry's disk: size_gib)"
                    )
            yield member

    def _count_one(self) -> None:
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise ImageFault(f"refused, has more than {MAX_ENTRIES} files")

    def _white_out(self, member: tarfile.TarInfo) -> None:
        folder, _, name = member.name.rstrip("/").rpartition("/")
        if not name.startswith(_WHITEOUT):
            return
        where = self.find("/" + "/".join(_parts(folder)))
        if where is None or where.children is None:
            return
        if name == _OPAQUE:
            where.children.clear()
        else:
            where.children.pop(name.removeprefix(_WHITEOUT), None)

    def _add(self, member: tarfile.TarInfo, tar: tarfile.TarFile, *, replaces_links: bool) -> None:
        parts = _parts(member.name)
        if not parts:
            if member.isdir():
                self.root.info = member
            return
        shown = repr(member.name[:100])
        if member.ischr() or member.isblk():
            # The kernel's devtmpfs makes those of /dev; nobody has business with any elsewhere.
            if parts[0] != "dev":
                raise ImageFault(f"refused, has the device node {shown}")
            self.devices_left_out += 1
            return
        parent, name = self._parent(member.name, parts)
        siblings = _children(parent)
        before = siblings.get(name)
        if member.isdir():
            if before is not None and before.is_folder:
                before.info = member
            elif replaces_links or before is None or not before.info.issym() or not self._is_folder(parts, member.name):
                siblings[name] = Inode(member, children={})
        elif member.islnk():
            target = self._link_target(member.linkname)
            if target is None:
                raise ImageFault(
                    f"refused, {shown} is a hard link to {member.linkname[:100]!r}, which is no file in it"
                )
            siblings[name] = target
        elif member.isreg() or member.issym() or member.isfifo():
            siblings[name] = Inode(member, tar=tar if member.isreg() else None)
        else:
            raise ImageFault(f"refused, {shown} is of an unknown type {member.type!r}")

    def _is_folder(self, parts: list[str], shown: str) -> bool:
        try:
            found = self._walk(parts, shown, make=False)
        except ImageFault:
            return False
        return found is not None and found.is_folder

    def _link_target(self, name: str) -> Inode | None:
        parts = _parts(name)
        if not parts:
            return None
        where = self._walk(parts[:-1], name, make=False)
        found = where.children.get(parts[-1]) if where is not None and where.children is not None else None
        return found if found is not None and (found.info.isreg() or found.info.issym()) else None

    def _parent(self, shown: str, parts: list[str]) -> tuple[Inode, str]:
        """The folder a name is in, made where it is missing, and its last part."""
        where = self._walk(parts[:-1], shown, make=True)
        if where is None or not where.is_folder:
            raise ImageFault(f"refused, {shown[:100]!r} is below what is no folder")
        return where, parts[-1]

    def _walk(self, parts: list[str], shown: str, *, make: bool) -> Inode | None:
        """Follow names as a guest would whose root this is; leaving the tree is refused, not cut off."""
        way, todo, links = [self.root], list(reversed(parts)), 0
        while todo:
            part = todo.pop()
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise ImageFault(f"refused, the ways to {shown[:100]!r} and to others in it are too long")
            if part in {"", "."}:
                continue
            if part == "..":
                if len(way) == 1:
                    raise ImageFault(f"refused, {shown[:100]!r} leads out of the tree")
                way.pop()
                continue
            here = way[-1]
            if here.children is None:
                return None
            child = here.children.get(part)
            if child is None:
                if not make:
                    return None
                self._count_one()
                child = here.children[part] = _folder()
            if child.info.issym():
                links += 1
                if links > _LINKS_ON_THE_WAY:
                    raise ImageFault(f"refused, {shown[:100]!r} is behind links that lead in a circle")
                todo.extend(reversed(child.info.linkname.split("/")))
                if child.info.linkname.startswith("/"):
                    way = [self.root]
                continue
            way.append(child)
        return way[-1]


def _children(folder: Inode) -> dict[str, Inode]:
    if folder.children is None:
        raise RuntimeError("only folders are asked")
    return folder.children


def _parts(name: str) -> list[str]:
    """The parts of a member's name. Raises ImageFault for one that no honest archive has."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/"):
        raise ImageFault(f"refused, has the absolute path {name[:100]!r}")
    if ".." in parts:
        raise ImageFault(f"refused, has the path {name[:100]!r}")
    return parts


def _content(inode: Inode) -> IO[bytes]:
    opened = inode.tar.extractfile(inode.info) if inode.tar is not None else None
    return opened if opened is not None else io.BytesIO(inode.data)


def _read(file: IO[bytes], size: int) -> bytes:
    try:
        return file.read(size)
    except tarfile.TarError as error:
        # The map of a sparse file can promise more than there is.
        raise ImageFault(f"is not a whole tar file: {error}") from error


class _Whole:
    """A file's content in small pieces; short content is a damaged archive."""

    def __init__(self, inode: Inode) -> None:
        self._file, self._left = _content(inode), inode.info.size

    def read(self, size: int = -1) -> bytes:
        wanted = min(self._left, _CHUNK if size < 0 else size)
        piece = _read(self._file, wanted)
        self._left -= len(piece)
        if len(piece) < wanted:
            raise ImageFault("is not a whole tar file: a file in it is cut off")
        return piece


def _write_one(tar: tarfile.TarFile, path: str, inode: Inode, names: dict[int, str]) -> None:
    old = inode.info
    info = tarfile.TarInfo(path)
    info.type, info.linkname = (tarfile.REGTYPE if old.isreg() else old.type), old.linkname
    info.mode, info.uid, info.gid = stat.S_IMODE(old.mode), _id(old.uid), _id(old.gid)
    # What ext4 can hold (seconds since 1970 in 34 bits).
    info.mtime = int(min(max(old.mtime, 0), 2**34 - 1))
    if CAPABILITY in old.pax_headers:
        info.pax_headers = {CAPABILITY: old.pax_headers[CAPABILITY]}
    if id(inode) in names:
        info.type, info.linkname = tarfile.LNKTYPE, names[id(inode)]
        tar.addfile(info)
        return
    if not inode.is_folder:
        names[id(inode)] = path
    if old.isreg():
        info.size = old.size
        tar.addfile(info, _Whole(inode))
    else:
        tar.addfile(info)


def _id(number: int) -> int:
    return number if 0 <= number < 2**32 - 1 else 0
