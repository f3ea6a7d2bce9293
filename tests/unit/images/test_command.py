"""Host programs that fail: the one line that is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from images import ImageFault
from images.command import run, run_logged

FULL = "I: extracting\ntar: ./usr/x: Cannot write: No space left on device\nI: removing\nE: mmdebstrap failed to run\n"


def failing(words: str) -> list[str]:
    return ["sh", "-c", 'printf %s "$1"; exit 25', "sh", words]


def test_what_a_program_said_last_of_an_error_is_quoted(tmp_path: Path) -> None:
    words = "E: unable to locate package\nI: removing\n"
    with pytest.raises(ImageFault, match=r"^sh failed with status 25: E: unable to locate package$"):
        run(failing(words))
    with pytest.raises(ImageFault, match=r"^sh failed with status 25: E: unable to locate package$"):
        run_logged(failing(words), tmp_path / "log")
    assert (tmp_path / "log").read_text() == words


@pytest.mark.parametrize("log", ["/dev/full", "/dev/null"])
def test_a_full_disk_is_the_reason_of_what_follows_from_it_also_where_the_log_is_on_it(log: str) -> None:
    with pytest.raises(ImageFault, match=r"tar: \./usr/x: Cannot write: No space left on device$"):
        run_logged(failing(FULL), Path(log))


def test_a_program_is_told_from_its_own_words_however_long_it_goes_on() -> None:
    with pytest.raises(ImageFault, match=r"status 3: the end$"):
        run_logged(["sh", "-c", "yes | head -n 100000; echo the end; exit 3"], Path("/dev/full"))


def test_a_program_that_is_not_there_names_its_package() -> None:
    with pytest.raises(
        ImageFault, match=r"^no-such-program is missing on this host; install the package no-such-program$"
    ):
        run(["no-such-program"])
