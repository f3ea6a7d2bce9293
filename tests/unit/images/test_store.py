"""The cache: made once, damage found, nothing left by the killed, nothing removed that is in use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from images import ImageFault, Store, UrlEntry
from images.locking import UseLock
from images.manifest import Manifest, Stamp, StoredFile, damage, write_manifest
from images.workspace import Workspaces
from tests.unit.images.conftest import MakeEntry

_SHM = "/dev/shm"  # noqa: S108 -- another file system, in which a folder of a test's own is made
_OBTAIN = """
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from images import Store, UrlEntry
from images.progress import LineReporter
from rich.console import Console
image = Store(Path(sys.argv[1])).obtain(UrlEntry.model_validate_json(sys.argv[2]), LineReporter(Console(width=500)))
print("GOT", image.digest)
"""


class Listening:
    """A reporter that remembers what was said."""

    def __init__(self) -> None:
        from images.progress import SilentReporter

        self.lines: list[str] = []
        self.task = SilentReporter().task

    def say(self, line: str) -> None:
        """Remember `line`."""
        self.lines.append(line)


def _objects(cache: Path) -> list[Path]:
    return sorted((cache / "images/objects").iterdir())


def test_the_second_time_it_comes_from_the_cache(store: Store, cache: Path, disk: Path, entry_for: MakeEntry) -> None:
    entry = entry_for(disk)
    first = store.obtain(entry)
    disk.unlink()
    assert Store(cache).obtain(entry) == first
    assert first.disk.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("how", ["flipped bit", "truncated", "missing", "replaced"])
def test_damage_is_found_before_use_and_healed(
    store: Store, cache: Path, disk: Path, entry_for: MakeEntry, how: str
) -> None:
    entry, said = entry_for(disk), Listening()
    stored = store.obtain(entry).disk
    before = stored.stat()
    stored.chmod(0o644)
    if how == "flipped bit":
        with stored.open("r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(b"\xff")
        # An old modification time must not hide it.
        os.utime(stored, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif how == "truncated":
        os.truncate(stored, before.st_size // 2)
    elif how == "missing":
        stored.unlink()
    else:
        stored.unlink()
        stored.write_bytes(b"\0" * before.st_size)
    image = store.obtain(entry, said)
    assert image.disk.read_bytes() == disk.read_bytes()
    assert any("damaged" in line for line in said.lines)


def test_damage_without_a_source_is_an_error_and_not_a_boot(store: Store, disk: Path, entry_for: MakeEntry) -> None:
    entry = entry_for(disk)
    stored = store.obtain(entry).disk
    stored.chmod(0o600)
    os.truncate(stored, 1000)
    disk.unlink()
    with pytest.raises(ImageFault):
        store.obtain(entry)
    assert store.known(entry) is None


def test_verify_reads_everything(store: Store, disk: Path, entry_for: MakeEntry) -> None:
    entry = entry_for(disk)
    store.obtain(entry)
    manifest = store.known(entry)
    assert manifest is not None
    assert store.verify(manifest) is None
    stored = store.obtain(entry).disk
    stored.chmod(0o644)
    with stored.open("r+b") as file:
        file.seek(70_000)
        file.write(b"damage")
    assert "sha256" in str(store.verify(manifest))


def test_a_touched_file_is_read_again_once(store: Store, disk: Path, entry_for: MakeEntry) -> None:
    entry = entry_for(disk)
    stored, said = store.obtain(entry).disk, Listening()
    stored.touch()
    store.obtain(entry, said)
    manifest = store.known(entry)
    assert said.lines == []
    assert manifest is not None
    assert manifest.disk.verified.mtime_ns == stored.stat().st_mtime_ns


def test_two_processes_make_it_once(cache: Path, disk: Path, entry_for: MakeEntry) -> None:
    entry = entry_for(disk)
    argv = [sys.executable, "-c", _OBTAIN, str(cache), entry.model_dump_json()]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    output = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert all("GOT sha256:" in text for text in output)
    assert sum("copying" in text for text in output) == 1


def test_damage_that_no_stamp_shows_is_found_by_verify_and_healed(
    store: Store, cache: Path, disk: Path, entry_for: MakeEntry
) -> None:
    entry, same_bytes = entry_for(disk), entry_for(disk, id="raw", format="raw")
    stored = store.obtain(entry).disk
    store.obtain(same_bytes)
    stored.chmod(0o644)
    with stored.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\xff")
    # A failing medium changes no stamp; here those in the manifests are made those of the damaged file.
    for each in (entry, same_bytes):
        manifest = store.known(each)
        assert manifest is not None
        silent = manifest.model_copy(update={"files": (manifest.disk.restamped(stored.parent),)})
        write_manifest(cache / "images/keys" / f"{manifest.key}.json", silent)
    assert store.obtain(entry).disk.read_bytes() != disk.read_bytes()
    assert "sha256" in str(store.verify(silent))
    assert store.known(entry) is None
    assert store.known(same_bytes) is None
    assert store.obtain(entry).disk.read_bytes() == disk.read_bytes()
    assert store.verify(silent) is None


def test_what_a_failing_disk_no_longer_gives_is_damage(tmp_path: Path) -> None:
    # Nothing is mapped at 0, so the kernel answers as a disk does that cannot read.
    (tmp_path / "disk").symlink_to("/proc/self/mem")
    file = StoredFile(name="disk", sha256="0" * 64, verified=Stamp.of(tmp_path / "disk"))
    assert damage(tmp_path, file, rehash=True) == "disk cannot be read: Input/output error"


def test_whoever_waits_says_so(store: Store, disk: Path, entry_for: MakeEntry) -> None:
    entry = entry_for(disk)
    with store._key_lock(store.key_of(entry)):
        argv = [sys.executable, "-u", "-c", _OBTAIN, str(store._cache_dir), entry.model_dump_json()]
        waiting = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert "waiting" in waiting.stdout.readline()
    assert "GOT" in waiting.communicate(timeout=60)[0]


def test_a_killed_process_leaves_nothing_that_counts(cache: Path, disk: Path, entry_for: MakeEntry) -> None:
    body = (
        "import sys, os, signal\nfrom pathlib import Path\nfrom images.workspace import Workspaces\n"
        "with Workspaces(Path(sys.argv[1])).open('half') as work:\n"
        "    (work / 'disk').write_bytes(b'x' * 100000)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    store = Store(cache)
    work = cache / "images/work"
    assert subprocess.run([sys.executable, "-c", body, work], check=False).returncode == -signal.SIGKILL
    assert len(list(work.iterdir())) == 1
    store.obtain(entry_for(disk))
    assert list(work.iterdir()) == []


def test_a_living_owner_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    spaces = Workspaces(tmp_path / "work")
    with spaces.open("mine") as folder:
        assert Workspaces(tmp_path / "work").sweep() == 0
        assert folder.is_dir()


def test_what_is_in_use_is_not_removed(store: Store, cache: Path, disk: Path, entry_for: MakeEntry) -> None:
    entry = entry_for(disk)
    image = store.obtain(entry)
    manifest, other = store.known(entry), Store(cache)
    assert manifest is not None
    assert other.remove(manifest) is None
    assert image.disk.exists()
    store.close()
    assert other.remove(manifest) == manifest.size
    assert _objects(cache) == []
    assert other.known(entry) is None


def test_one_object_can_serve_two_entries(store: Store, cache: Path, disk: Path, entry_for: MakeEntry) -> None:
    by_sha256 = entry_for(disk)
    raw = entry_for(disk, id="same-bytes", format="raw")
    assert store.obtain(by_sha256).digest == store.obtain(raw).digest
    store.close()
    manifest = store.known(raw)
    assert manifest is not None
    assert store.remove(manifest) == 0
    assert store.obtain(by_sha256).disk.exists()
    store.close()
    manifest = store.known(by_sha256)
    assert manifest is not None
    assert store.remove(manifest) == manifest.size


def test_of_two_entries_of_one_digest_each_has_its_own_origin(store: Store, disk: Path, entry_for: MakeEntry) -> None:
    ours = entry_for(disk, id="ours", origin="us")
    theirs = entry_for(disk, id="theirs", origin="them", digest_from="a letter")
    assert store.key_of(ours) == store.key_of(theirs)
    assert [store.obtain(each).origin for each in (ours, theirs)] == ["us", "them; digest: a letter"]


def test_a_disk_in_use_stays_when_others_fetch_the_same_bytes(
    store: Store, cache: Path, disk: Path, entry_for: MakeEntry
) -> None:
    used = store.obtain(entry_for(disk)).disk
    inode, missed, over = used.stat().st_ino, [], threading.Event()

    def watch() -> None:
        while not over.is_set():
            if not used.exists():
                missed.append(used)

    watching = threading.Thread(target=watch)
    watching.start()
    with closing(Store(cache)) as other:
        for _ in range(10):
            assert other.obtain(entry_for(disk, id="same-bytes", format="raw"), anew=True).disk == used
    over.set()
    watching.join()
    assert missed == []
    assert used.stat().st_ino == inode


def test_a_damaged_disk_in_use_is_exchanged_and_never_away(
    store: Store, cache: Path, disk: Path, entry_for: MakeEntry
) -> None:
    used = store.obtain(entry_for(disk)).disk
    used.chmod(0o644)
    os.truncate(used, 1000)
    with closing(Store(cache)) as other:
        disk.rename(disk.parent / "away")
        with pytest.raises(ImageFault):
            other.obtain(entry_for(disk.parent / "away", url=str(disk)))
        assert used.exists()
        (disk.parent / "away").rename(disk)
        assert other.obtain(entry_for(disk)).disk.read_bytes() == disk.read_bytes()
    manifest = store.known(entry_for(disk))
    assert manifest is not None
    assert manifest.disk == manifest.disk.restamped(used.parent)


@pytest.mark.skipif(not os.path.ismount(_SHM), reason="another file system is needed")
def test_objects_on_another_disk_are_told_what_to_do(disk: Path, cache: Path, entry_for: MakeEntry) -> None:
    Store(cache)
    with TemporaryDirectory(dir=_SHM) as elsewhere:
        (cache / "images/objects").rmdir()
        (cache / "images/objects").symlink_to(elsewhere)
        with pytest.raises(ImageFault, match=f"link {cache} as a whole"):
            Store(cache).obtain(entry_for(disk))


def test_an_unnamed_object_is_swept_but_not_under_a_living_user(store: Store, cache: Path) -> None:
    left = cache / "images/objects" / ("a" * 64)
    left.mkdir()
    (left / "disk").write_bytes(b"x" * 8192)
    held = UseLock.shared(cache / "images/locks" / f"use-{'a' * 64}")
    assert store.sweep() == 0
    held.release()
    assert store.sweep() >= 8192
    assert not left.exists()


class _Finishing(Store):
    """A store in whose sweep another process finishes an image after each time that the manifests were read."""

    def __init__(self, cache: Path, entries: Iterable[UrlEntry]) -> None:
        super().__init__(cache)
        self._finished = [[sys.executable, "-c", _OBTAIN, str(cache), entry.model_dump_json()] for entry in entries]

    def manifests(self) -> Iterator[Manifest]:
        """As they are now; then somebody finishes an image."""
        yield from list(super().manifests())
        if self._finished:
            subprocess.run(self._finished.pop(), stdout=subprocess.DEVNULL, check=True)


def test_a_sweep_leaves_what_was_finished_meanwhile(cache: Path, disk: Path, entry_for: MakeEntry) -> None:
    entry = entry_for(disk)
    with closing(_Finishing(cache, [entry])) as sweeping:
        assert sweeping.sweep() == 0
        assert sweeping.obtain(entry).disk.exists()
    assert len(_objects(cache)) == 1


def test_what_was_made_anew_meanwhile_is_not_removed(cache: Path, disk: Path, entry_for: MakeEntry) -> None:
    entry = entry_for(disk)
    with closing(Store(cache)) as store, closing(Store(cache)) as other:
        store.obtain(entry)
        store.close()
        listed = store.known(entry)
        assert listed is not None
        other.obtain(entry, anew=True)
        other.close()
        assert store.remove(listed) is None
        assert store.known(entry) == other.known(entry)


def test_a_manifest_that_is_none_is_as_good_as_absent(
    store: Store, cache: Path, disk: Path, entry_for: MakeEntry
) -> None:
    entry = entry_for(disk)
    store.obtain(entry)
    path = cache / "images/keys" / f"{store.key_of(entry)}.json"
    path.write_text('{"version": 1', encoding="utf-8")
    assert store.known(entry) is None
    assert store.obtain(entry).disk.exists()


def test_a_cache_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("", encoding="utf-8")
    with pytest.raises(ImageFault, match="cannot be used") as caught:
        Store(tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_no_permission_on_the_cache_is_one_line(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o555)
    body = "import sys\nfrom pathlib import Path\nfrom images import Store, ImageFault\ntry:\n    Store(Path(sys.argv[1]))\nexcept ImageFault as fault:\n    print(fault)\n"
    argv = [sys.executable, "-c", body, str(cache)]
    if os.geteuid() == 0:
        # Root may write anywhere; without its capabilities it is an ordinary user to the kernel.
        argv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *argv]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "Permission denied" in done.stdout
    assert "GUESTCERT_CACHE_DIR" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_one_line_and_leaves_nothing(disk: Path, entry_for: MakeEntry, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    entry = entry_for(disk)
    script = 'mount -t tmpfs -o size=2m none "$1" && "$2" -c "$3" "$1" "$4"; echo "status $?"; ls -A "$1/images/objects" "$1/images/work" | grep -v :'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(full), sys.executable, _OBTAIN, entry.model_dump_json()]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "status 1" in done.stdout, done.stdout + done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "No space left on device" in last
    assert "free some space" in last
    assert done.stdout.partition("status 1")[2].strip() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_build_without_room_does_not_begin(tmp_path: Path) -> None:
    body = (
        "import sys\nfrom pathlib import Path\nfrom images import ImageFault, Store, load_catalogue\n"
        "try:\n    Store(Path(sys.argv[1])).obtain(load_catalogue()['debian-12'])\n"
        "except ImageFault as fault:\n    print(fault)\n"
    )
    script = 'mount -t tmpfs -o size=64m none "$1" && exec "$2" -c "$3" "$1"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, body]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "needs 3072 MiB free" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("field", ["url", "origin"])
def test_provenance_alone_does_not_change_the_key(store: Store, disk: Path, entry_for: MakeEntry, field: str) -> None:
    entry = entry_for(disk)
    assert store.key_of(entry) == store.key_of(entry.model_copy(update={field: "/elsewhere"}))


def test_another_digest_is_another_key(store: Store, disk: Path, entry_for: MakeEntry) -> None:
    entry: UrlEntry = entry_for(disk)
    assert store.key_of(entry) != store.key_of(entry.model_copy(update={"sha256": "1" * 64}))
