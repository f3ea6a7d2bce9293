"""Programs unpacked into the cache: fetched once, run by their own loader, and nothing left of a try that failed."""

from __future__ import annotations

import gc
import subprocess
from pathlib import Path

import pytest

from images import programs
from images.faults import ImageFault
from images.programs import ProgramFolder, obtain_programs, remove_unused

WANTED = ("trixie", ("hello",))


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be fetched."""
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.usefixtures("no_tools")
def test_a_try_that_failed_leaves_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ImageFault, match="is missing on this host; install") as caught:
            obtain_programs(tmp_path, *WANTED)
        assert "\n" not in str(caught.value)
        assert {path.suffix for path in (tmp_path / "programs").iterdir()} <= {".lock"}


def made(folder: Path, suite: str, packages: tuple[str, ...]) -> None:
    (folder / "usr").mkdir(parents=True)
    (folder / "usr" / suite).write_text(" ".join(packages))


@pytest.mark.usefixtures("no_tools")
def test_what_is_in_the_cache_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as fetching:
        fetching.setattr(programs, "_make", made)
        first = obtain_programs(tmp_path, *WANTED)
    assert first.root.name.startswith("hello-trixie-")
    assert obtain_programs(tmp_path, *WANTED) == first
    with pytest.raises(ImageFault):
        obtain_programs(tmp_path, "bookworm", WANTED[1])  # another suite is another folder


def test_a_program_is_run_by_the_loader_beside_it() -> None:
    here = ProgramFolder(Path("/"))
    words = here.command("usr/bin/env", "usr/lib/more")
    if not Path(words[0]).exists():
        pytest.skip("this machine has its loader elsewhere")
    assert words[1:3] == ["--library-path", "/usr/lib/x86_64-linux-gnu:/usr/lib/more"]
    done = subprocess.run([*words, "printf", "%s", "run"], capture_output=True, text=True, check=True)
    assert done.stdout == "run"


def test_a_folder_that_has_two_paths_has_one_script(tmp_path: Path) -> None:
    root = tmp_path / 'a `$b` "c" d'
    (root / "usr/lib64").mkdir(parents=True)
    loader = root / "usr/lib64/ld-linux-x86-64.so.2"
    loader.write_text('#!/bin/sh\nprintf "%s\\n" "$DATA" "$@"\n')
    loader.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(root)
    texts = set()
    for path in (root, link):
        script = ProgramFolder(path).script("usr/bin/prog", ["-L", f"{path}/data"], {"DATA": f"{path}/$HOME"})
        texts.add(script.read_text())
        said = subprocess.run([script, "x y"], capture_output=True, text=True, check=True).stdout.splitlines()
        assert said[0] == f"{path}/$HOME"
        assert said[-4:] == [f"{path}/usr/bin/prog", "-L", f"{path}/data", "x y"]
    assert len(texts) == 1, "users of the one would change it for those of the other"


def test_what_nobody_uses_is_removed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_make", made)
    first = obtain_programs(tmp_path, *WANTED)
    other = obtain_programs(tmp_path, "bookworm", WANTED[1])
    assert first.held is not None
    assert other.held is not None
    assert remove_unused(tmp_path, 0) == ([], 0)  # both are in use
    first.held.release()
    assert remove_unused(tmp_path, 1) == ([], 0)  # and this one is new
    removed, freed = remove_unused(tmp_path, 0)
    assert removed == [first.root.name]
    assert freed > 0
    assert not first.root.exists()
    assert other.root.exists()
    assert obtain_programs(tmp_path, *WANTED) == first  # made anew


def test_what_killed_processes_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_make", made)
    used = obtain_programs(tmp_path, *WANTED)
    for left in ("gone", "x7"):
        (used.root.parent / f".{used.root.name}.{left}" / "usr").mkdir(parents=True)
    assert remove_unused(tmp_path, 0)[0] == []
    assert [path.name for path in used.root.parent.iterdir() if path.is_dir()] == [used.root.name]


def test_who_keeps_only_a_path_still_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_make", made)
    path = obtain_programs(tmp_path, *WANTED).root
    gc.collect()
    assert remove_unused(tmp_path, 0) == ([], 0)
    assert path.exists()
