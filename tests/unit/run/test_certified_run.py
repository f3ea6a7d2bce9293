"""Runs that are timed by benchmarks: one that does not certify is a line, and its results stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import certified_run, expansion, smoke
from cli.bench import NotMeasured, main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_that_does_not_certify_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(out: Path, *options: str) -> int:
        (out / "evidence").mkdir(parents=True)
        return 3

    monkeypatch.setattr(certified_run, "run", fails)
    with pytest.raises(NotMeasured, match=r"exit status 3; its results are in out/bench-x-measured$"):
        certified_run.timed_run(tmp_path / "bench-x" / "measured", "--profile", "smoke")
    assert (tmp_path / "out/bench-x-measured/evidence").is_dir()


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match=r"--cell no\+such\+cell` ended with exit status [1-9]\d*$"):
        certified_run.timed_run(tmp_path / "bench-x" / "measured", "--cell", "no+such+cell")


def test_it_is_one_line_and_other_benchmarks_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> dict[str, float]:
        raise NotMeasured("the run ended with exit status 3")

    monkeypatch.setattr(smoke, "measure", fails)
    monkeypatch.setattr(expansion, "measure", lambda: {"over_plain_loop": 1.5})
    assert main(["smoke", "expansion"]) == 3
    out, err = capsys.readouterr()
    assert "guestcert bench: smoke: the run ended with exit status 3\n" in err
    assert "1.5 x" in out
