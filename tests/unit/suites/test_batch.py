"""One round trip for many readings, in a real shell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures.faults import CommandFailed
from suites.reading.batch import batch_script, parse_files, read_files, run_batch, split_batch
from tests.unit.suites.local_shell import LocalShell


@pytest.fixture(params=["sh", "busybox"])
def shell(request: pytest.FixtureRequest) -> LocalShell:
    if request.param == "busybox" and shutil.which("busybox") is None:
        pytest.skip("no busybox on this machine")
    return LocalShell(busybox=request.param == "busybox")


def test_each_snippet_has_its_own_status_and_output(shell: LocalShell) -> None:
    batch = run_batch(shell, {"good": "echo one; echo two", "bad": "echo half; exit 3", "after": "printf 'no newline'"})
    assert (batch["good"].status, batch["good"].text) == (0, "one\ntwo\n")
    assert (batch["bad"].status, batch["bad"].word) == (3, "half")
    assert (batch["after"].status, batch["after"].stdout) == (0, b"no newline")


def test_output_is_kept_byte_by_byte(shell: LocalShell) -> None:
    batch = run_batch(shell, {"bytes": r"printf '\000\377\n\n'", "empty": ":"})
    assert batch["bytes"].stdout == b"\0\xff\n\n"
    assert batch["empty"].stdout == b""


def test_a_snippet_cannot_change_the_next_one(shell: LocalShell) -> None:
    batch = run_batch(shell, {"first": "cd /; x=1; exit 0", "second": 'echo "${x-unset}"'})
    assert batch["second"].word == "unset"


def test_a_shell_that_does_not_get_to_the_end_is_a_fault(shell: LocalShell) -> None:
    with pytest.raises(CommandFailed, match="second"):
        run_batch(shell, {"first": ":", "second": "kill -9 $$"})


def test_a_forged_marker_is_output(shell: LocalShell) -> None:
    script = batch_script({"a": "echo '--guestcert-0 b'; echo x; echo; echo '--guestcert-0 = 0'"}, "--guestcert-1")
    sections = split_batch(shell.run(("sh", "-c", script)).stdout, "--guestcert-1")
    assert set(sections) == {"a"}


def test_files_by_path(shell: LocalShell, tmp_path: Path) -> None:
    for name, text in (("0000:00:01.0", "a:b\n\nc"), ("0000:00:02.0", "one\n"), ("empty", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "class").write_text(text)
    files = read_files(shell, f"{tmp_path}/*/class", f"{tmp_path}/absent")
    assert files == {f"{tmp_path}/0000:00:01.0/class": "a:b\n\nc", f"{tmp_path}/0000:00:02.0/class": "one"}


def test_lines_of_other_files_are_left_out() -> None:
    assert parse_files("/etc/x:1\nnoise\n/proc/a/b:2", "/proc/*/b") == {"/proc/a/b": "2"}
