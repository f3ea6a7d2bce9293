"""The command line as people type it: every mistake is a clear line and an exit status, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.run import pytest_arguments
from fixtures.options import CHECKOUT, SHIPPED_SUITES


class Said:
    """What a command answered."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status = done.returncode
        self.out, self.err = done.stdout, done.stderr

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


@pytest.fixture
def guestcert(tmp_path: Path):
    """Calls `guestcert` in an empty folder with an empty cache."""

    def call(*arguments: str, **environment: str) -> Said:
        (tmp_path / "runtime").mkdir(mode=0o700, exist_ok=True)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        variables |= {
            "GUESTCERT_CACHE_DIR": str(tmp_path / "cache"),
            "GUESTCERT_RUNTIME_DIR": str(tmp_path / "runtime"),
        }
        variables |= environment
        command = [sys.executable, "-m", "cli.main", *arguments]
        variables["PYTHONPATH"] = str(CHECKOUT)
        return Said(
            subprocess.run(
                command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False, timeout=60
            )
        )

    return call


def overlay(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return str(folder)


def test_without_arguments_it_lists_its_commands(guestcert) -> None:
    said = guestcert()
    assert said.status == 0
    for command in ("run", "matrix", "images", "hosts", "lab", "clean", "report", "bench", "test", "version"):
        assert f"\n  {command} " in said.out


def test_an_unknown_command_names_the_known_ones(guestcert) -> None:
    said = guestcert("certify")
    assert said.status == 2
    assert said.lines == [
        "guestcert: no command 'certify' (allowed: run, matrix, images, hosts, lab, report, clean, bench, test, version)"
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--guest", "debain-12"], "--guest: unknown guest 'debain-12', did you mean 'debian-12'?"),
        (["--cell", "x+y+z"], "--cell: no cell is called 'x+y+z'"),
        (["--profile", "smok"], "--profile: unknown profile 'smok', did you mean 'smoke'?"),
        (["--hosts", "nowhere"], "--hosts: unknown lab or host 'nowhere'"),
        (["--matrix", "missing"], "is not a folder"),
        (["--suites", "missing"], "is not a folder"),
        (["--guest", "$(reboot)"], "--guest"),
        (["--out", "/dev/null"], "/dev/null is not a folder"),
    ],
)
def test_bad_input_is_one_line_and_status_2(guestcert, arguments: list[str], expected: str) -> None:
    said = guestcert("run", *arguments)
    assert said.status == 2, said.err
    assert len(said.lines) == 1, said.err
    assert expected in said.err


def test_an_option_without_its_value_is_pytests_to_explain(guestcert) -> None:
    said = guestcert("run", "--guest")
    assert said.status == 2
    assert "Traceback" not in said.err


def test_all_mistakes_of_a_matrix_are_told_at_once(guestcert, tmp_path: Path) -> None:
    guest = "id: one\nname: One\nvendor: V\nversion: '1'\nimage: i\nvcpu: 2\nfirmware: efi\n"
    said = guestcert("run", "--matrix", overlay(tmp_path / "mine", {"guests/one.yaml": guest}))
    assert said.status == 2
    assert len(said.lines) == 2, said.err
    assert all("mine/guests/one.yaml:" in line for line in said.lines)


def test_a_profile_with_an_unknown_probe(guestcert, tmp_path: Path) -> None:
    profiles = "profiles:\n  - id: mine\n    required: [boot/cold_boot, boot/warp]\n"
    said = guestcert("run", "--profile", "mine", "--matrix", overlay(tmp_path / "mine", {"profiles.yaml": profiles}))
    assert said.status == 2
    assert len(said.lines) == 1, said.err
    assert "profiles.yaml:3: required[1]: unknown probe 'boot/warp'" in said.err


def test_a_run_folder_is_never_written_twice(guestcert, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "events.jsonl").write_text("")
    said = guestcert("run", "--out", "old")
    assert said.status == 2
    assert "holds the results of another run" in said.err


def test_a_cache_that_cannot_be_used(guestcert, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = guestcert("run", GUESTCERT_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert said.status in {2, 3}
    assert len(said.lines) == 1, said.err


def test_a_runtime_folder_of_somebody_else(guestcert, tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    said = guestcert("run", GUESTCERT_RUNTIME_DIR=str(open_to_all))
    assert said.status in {2, 3}
    assert len(said.lines) == 1, said.err
    assert "0700" in said.err


def test_help_of_run_speaks_of_our_options_and_pytests(guestcert) -> None:
    said = guestcert("run", "--help")
    assert said.status == 0
    assert "--no-checkpoint-reuse" in said.out
    assert "pytest" in said.out


def test_words_are_told_from_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boot").mkdir()
    (tmp_path / "mine").mkdir()
    all_suites = str(SHIPPED_SUITES)
    assert all_suites in pytest_arguments(["-k", "boot"])
    assert all_suites in pytest_arguments(["--guest", "boot", "-x"])
    assert {all_suites, "mine"} <= set(pytest_arguments(["--suites", "mine"]))
    assert all_suites not in pytest_arguments(["boot/"])
    assert all_suites not in pytest_arguments(["-x", "boot"])
    assert all_suites in pytest_arguments(["-n2"])


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["matrix", "list"], 0),
        (["--help"], 0),
        (["hosts", "--help"], 0),
        (["run", "--guest", "debain-12"], 2),
        (["report", "nowhere"], 2),
    ],
)
def test_a_command_whose_output_nobody_reads_ends_as_it_would(
    tmp_path: Path, arguments: list[str], status: int
) -> None:
    (tmp_path / "runtime").mkdir(mode=0o700)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {
        "GUESTCERT_CACHE_DIR": str(tmp_path / "cache"),
        "GUESTCERT_RUNTIME_DIR": str(tmp_path / "runtime"),
        "PYTHONPATH": str(CHECKOUT),
    }
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cli.main", *arguments]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, stdout=writing, stderr=writing, check=False, timeout=60
    )
    os.close(writing)
    assert ended.returncode == status
