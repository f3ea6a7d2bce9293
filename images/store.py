"""The content-addressed cache: every image is built or fetched once, verified, and shared read-only.

    keys/                the cache's SSH keys (images.keys)
    images/
      keys/KEY.json      manifest: which object a key stands for (images.manifest)
      objects/SHA256/    disk, kernel, initrd, files mode 0444; named by the disk's digest, or that of all three
      locks/             one lock a key (exclusive while it is made), one an object (shared while in use)
      work/              one folder a build, gone afterwards; swept when its owner died
      partial/           downloads that can be resumed

A manifest is written last, so what a killed process leaves behind is never taken for an image.
"""

from __future__ import annotations

import errno
import hashlib
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from images.emulator import EMULATOR, Emulator
from images.examine import examine
from images.faults import ImageFault
from images.forms import Obtainable, Source
from images.image import Image
from images.keys import IdentityKeys
from images.locking import UseLock
from images.making import decides, described, kind_of, make, origin_of
from images.manifest import (
    FILE_NAMES,
    Manifest,
    StoredFile,
    absolute,
    damage,
    joint_digest,
    read_manifest,
    write_manifest,
)
from images.model import PlannedBuild, PublishedEntry, UrlEntry, UserEntry
from images.progress import Reporter, SilentReporter
from images.workplace import Workplace
from images.workspace import Workspaces, remove_tree


def _own() -> Emulator:
    return Emulator(EMULATOR, kvm=False)


class Store:
    """The cache under `cache_dir`. One object per process is enough; images obtained stay in use until `close`.

    `emulator` is asked before an installer is run: in what, and whether KVM really runs guests here, and not only seems to.
    """

    def __init__(self, cache_dir: Path, emulator: Callable[[], Emulator] = _own) -> None:
        self._emulator = emulator
        self._root = cache_dir / "images"
        self._cache_dir = cache_dir
        self._in_use: dict[str, UseLock] = {}
        with self._one_line(f"the cache {cache_dir} cannot be used"):
            for name in ("keys", "objects", "locks", "work", "partial"):
                (self._root / name).mkdir(parents=True, exist_ok=True)
        self.keys = IdentityKeys(cache_dir)
        self._workspaces = Workspaces(self._root / "work")

    def close(self) -> None:
        """Declare that no image of this store is in use any more."""
        while self._in_use:
            self._in_use.popitem()[1].release()

    def workspace(self, name: str) -> AbstractContextManager[Path]:
        """An empty folder for work that no image is made in; gone at the end, or swept when we were killed."""
        return self._workspaces.open(name)

    def key_of(self, source: Source) -> str:
        """Digest of everything that decides what comes out: entry, recipe, keys, version of the code."""
        decided = ["user", source.id] if isinstance(source, UserEntry) else decides(source, self.keys)
        return hashlib.sha256(described(decided).encode()).hexdigest()

    def obtain(self, source: Source, report: Reporter | None = None, *, anew: bool = False) -> Image:
        """The image of `source`: from the cache if it is there and undamaged, else built or fetched now.

        Two processes that ask for the same image make it once. `anew` makes it again from today's packages.
        Raises ImageFault.
        """
        report = report or SilentReporter()
        todo = left_to_do(source)
        if todo is not None or isinstance(source, UserEntry):
            raise ImageFault(f"{source.id}: {todo}")
        key = self.key_of(source)
        with self._one_line(source.id), self._alone(key, source.id, report):
            self._workspaces.sweep()
            manifest = None if anew else read_manifest(self._manifest_path(key))
            if manifest is not None:
                manifest = self._sound(manifest, source.id, report)
            if manifest is None:
                manifest = self._make(source, key, report)
            self._hold(manifest.name)
        return self._image(source, manifest)

    def known(self, source: Source) -> Manifest | None:
        """What the cache holds for `source`, without verifying it."""
        return read_manifest(self._manifest_path(self.key_of(source)))

    def manifests(self) -> Iterator[Manifest]:
        """Everything the cache holds, also for entries that are no longer in the catalogue."""
        for path in sorted((self._root / "keys").glob("*.json")):
            if (manifest := read_manifest(path)) is not None:
                yield manifest

    def holds(self, manifest: Manifest) -> bool:
        """Whether an image of which there was a manifest is still there."""
        return self._manifest_path(manifest.key).exists()

    def has_object(self, manifest: Manifest) -> bool:
        """Whether the bytes of an image are there, also for another entry that has the same."""
        return self._object(manifest).exists()

    def verify(self, manifest: Manifest, report: Reporter | None = None) -> str | None:
        """Read every file of an image in full; what is wrong with it, or None.

        What is damaged is forgotten, so that the next use makes it again: damage need not show in a file's stamp.
        Raises ImageFault if a file cannot be read.
        """
        report = report or SilentReporter()
        wrong = self._damage(manifest, report)
        if wrong is not None:
            for other in [each for each in self.manifests() if each.name == manifest.name]:
                self._forget_damaged(other, wrong, report)
        return wrong

    def _damage(self, manifest: Manifest, report: Reporter) -> str | None:
        folder = self._object(manifest)
        with report.task(f"{manifest.entry}: reading {manifest.size / 1024**2:.0f} MiB") as task:
            for file in manifest.files:
                if wrong := damage(folder, file, rehash=True, watch=task.advance):
                    return wrong
        return None

    def _forget_damaged(self, manifest: Manifest, wrong: str, report: Reporter) -> None:
        what = f"{manifest.entry}: damaged: {wrong}; it cannot be forgotten"
        with self._one_line(what), self._alone(manifest.key, manifest.entry, report):
            # Somebody may have made it again since it was read.
            current = read_manifest(self._manifest_path(manifest.key))
            if current is not None and self._damage(current, report) is not None:
                self._manifest_path(manifest.key).unlink()

    def remove(self, manifest: Manifest) -> int | None:
        """Remove an image unless somebody uses or makes it right now: None.

        Else bytes freed: none while another entry of the cache has the same bytes. Raises ImageFault.
        """
        with self._one_line(f"cannot remove {manifest.entry}"):
            lock = self._key_lock(manifest.key)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return None
            try:
                current = read_manifest(self._manifest_path(manifest.key))
                if current is not None and current.created != manifest.created:
                    return None  # made anew since `manifest` was read
                return self._remove_object(manifest)
            finally:
                lock.release()

    def sweep(self) -> int:
        """Remove what killed processes left: work folders, unnamed objects, unfinished downloads. Bytes are freed."""
        with self._one_line("cannot sweep the cache"):
            freed = self._workspaces.sweep()
            named = {manifest.name for manifest in self.manifests()}
            for folder in (self._root / "objects").iterdir():
                if folder.name not in named and (lock := UseLock.exclusive(self._use_lock(folder.name))):
                    try:
                        # Whoever made it held it until its manifest was written, perhaps since the first look.
                        if not self._named(folder.name):
                            freed += remove_tree(folder)
                    finally:
                        lock.release()
            for partial in (self._root / "partial").iterdir():
                freed += self._drop_partial(partial)
        return freed

    def _drop_partial(self, partial: Path) -> int:
        lock = self._key_lock(partial.name.partition(".")[0])
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return 0
        try:
            size = partial.stat().st_size
            partial.unlink()
        except FileNotFoundError:
            return 0  # it was finished since it was listed
        finally:
            lock.release()
        return size

    def _make(self, source: Obtainable, key: str, report: Reporter) -> Manifest:
        with self._workspaces.open(key) as work:
            place = Workplace(work, self._root / "partial" / key, key, self.keys, report, self._emulator)
            try:
                made = make(source, place)
            except ImageFault as fault:
                raise ImageFault(f"{fault}{self._keep_log(source.id, work)}") from fault
            facts = examine(work / "disk", made.format)
            files, name = self._keep(work, report, source.id, apart=made.apart)
        manifest = Manifest(
            key=key,
            entry=source.id,
            kind=kind_of(source),
            origin=origin_of(source),
            folder=absolute(source.folder) if source.folder else None,
            digest=name if made.apart else None,
            kernel_from=made.kernel_from,
            created=datetime.now(UTC),
            format=made.format,
            virtual_size=facts.virtual_size,
            root_device=made.root_device,
            seed=made.seed,
            adjustments=made.adjustments,
            files=files,
        )
        write_manifest(self._manifest_path(key), manifest)
        return manifest

    def _keep_log(self, name: str, work: Path) -> str:
        log, kept = work / "build.log", self._root / f"{name}.failed.log"
        if not log.exists():
            return ""
        log.replace(kept)
        return f" (log: {kept})"

    def _keep(self, work: Path, report: Reporter, entry: str, *, apart: bool) -> tuple[tuple[StoredFile, ...], str]:
        """Move the finished files to their place, which is named by the digest that is returned with them."""
        present = [name for name in FILE_NAMES if (work / name).exists()]
        fresh = work / "object"
        fresh.mkdir()
        for name in present:
            (work / name).rename(fresh / name)
            (fresh / name).chmod(0o444)
        with report.task(f"{entry}: computing digests") as task:
            recorded = [StoredFile.record(fresh, name, task.advance) for name in present]
        digest = joint_digest(recorded) if apart else next(file.sha256 for file in recorded if file.name == "disk")
        # In use before it has its name, so that no sweep takes it for left over.
        self._hold(digest)
        target = self._root / "objects" / digest
        try:
            fresh.rename(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return tuple(_mended(target, fresh, file) for file in recorded), digest
        return tuple(recorded), digest

    def _sound(self, manifest: Manifest, name: str, report: Reporter) -> Manifest | None:
        """The manifest if its files are what was verified, else None; a changed stamp costs one full reading."""
        folder, fresh = self._object(manifest), []
        for file in manifest.files:
            wrong = damage(folder, file, rehash=False)
            if wrong:
                report.say(f"{name}: the cached image is damaged ({wrong}); it is thrown away and made again")
                self._manifest_path(manifest.key).unlink(missing_ok=True)
                return None
            fresh.append(file.restamped(folder))
        if tuple(fresh) != manifest.files:
            manifest = manifest.model_copy(update={"files": tuple(fresh)})
            write_manifest(self._manifest_path(manifest.key), manifest)
        return manifest

    def _hold(self, digest: str) -> None:
        if digest not in self._in_use:
            self._in_use[digest] = UseLock.shared(self._use_lock(digest))

    def _remove_object(self, manifest: Manifest) -> int | None:
        lock = UseLock.exclusive(self._use_lock(manifest.name))
        if lock is None:
            return None
        try:
            # The manifest first: whoever is killed in between leaves what a sweep takes.
            self._manifest_path(manifest.key).unlink(missing_ok=True)
            folder = self._object(manifest)
            if self._named(manifest.name) or not folder.exists():
                return 0
            remove_tree(folder)
            return manifest.size
        finally:
            lock.release()

    def _named(self, digest: str) -> bool:
        return any(manifest.name == digest for manifest in self.manifests())

    def _image(self, source: Obtainable, manifest: Manifest) -> Image:
        folder = self._object(manifest)
        names = {file.name for file in manifest.files}
        return Image(
            id=source.id,
            digest=f"sha256:{manifest.name}",
            disk=folder / "disk",
            format=manifest.format,
            virtual_size=manifest.virtual_size,
            kernel=folder / "kernel" if "kernel" in names else None,
            initrd=folder / "initrd" if "initrd" in names else None,
            root_device=source.root_device if isinstance(source, UrlEntry) else manifest.root_device,
            ssh_private_key=self.keys.client.private,
            ssh_public_key=self.keys.client.public,
            host_public_key=self.keys.host.public,
            host_private_key=self.keys.host.private,
            seed=source.seed if isinstance(source, UrlEntry) else manifest.seed,
            adjustments=manifest.adjustments,
            origin=origin_of(source),
            kernel_from=manifest.kernel_from,
            loaders=source.entry.loaders if isinstance(source, PlannedBuild) else (),
        )

    def _object(self, manifest: Manifest) -> Path:
        return self._root / "objects" / manifest.name

    def _manifest_path(self, key: str) -> Path:
        return self._root / "keys" / f"{key}.json"

    def _use_lock(self, digest: str) -> Path:
        return self._root / "locks" / f"use-{digest}"

    def _key_lock(self, key: str) -> FileLock:
        return FileLock(self._root / "locks" / f"make-{key}")

    @contextmanager
    def _alone(self, key: str, name: str, report: Reporter) -> Iterator[None]:
        lock = self._key_lock(key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report.say(f"{name}: another process is making or checking this image; waiting for it")
            lock.acquire(timeout=-1, poll_interval=0.05)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _one_line(self, what: str) -> Iterator[None]:
        """Let an operating system error reach people as one line that says what to do."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise ImageFault(f"{what}: {reason}; {_advice(error, self._cache_dir)}") from error


def left_to_do(source: Source) -> str | None:
    """What a user has to do before the image of `source` can be had, as a clause; None if nothing."""
    if isinstance(source, UserEntry):
        supply = f"guestcert images supply {source.id} FILE --matrix {_shell_word(source.folder) or 'DIR'}"
        return f"has to be supplied: get {source.instructions}; then: {supply}"
    if isinstance(source, PublishedEntry) and not (source.sha256 or source.sha512):
        overlay = f" --matrix {_shell_word(source.folder)}" if source.folder else ""
        return f"has no digest yet, so it is not used; first: guestcert images pin {source.id}{overlay}"
    return None


def _shell_word(folder: Path | None) -> str:
    return shlex.quote(str(folder)) if folder else ""


def _mended(target: Path, fresh: Path, file: StoredFile) -> StoredFile:
    """`file` in the object `target`, where it stays if it is sound, as others may have it open; else that in `fresh` takes its
    place, of which nobody sees a moment without it. Raises OSError."""
    try:
        wrong = damage(target, file, rehash=True)
    except ImageFault:
        wrong = "it cannot be read"
    if wrong:
        (fresh / file.name).replace(target / file.name)
    return file.restamped(target)


def _advice(error: OSError, cache_dir: Path) -> str:
    """What to do about an operating system error in the cache."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"free some space below {cache_dir}, or let GUESTCERT_CACHE_DIR name a roomier folder"
    if error.errno == errno.EXDEV:
        return f"{cache_dir}/images must be on one disk; link {cache_dir} as a whole, or let GUESTCERT_CACHE_DIR name the other"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"make {cache_dir} yours, or let GUESTCERT_CACHE_DIR name a folder you may write to"
    return f"check {error.filename or cache_dir}"
