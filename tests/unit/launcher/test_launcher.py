"""The launcher, run as a user runs it; what it would install is read from what it says, never installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
BASE_TOOLS = (
    "sh",
    "dash",
    "env",
    "cat",
    "cksum",
    "dirname",
    "readlink",
    "id",
    "mktemp",
    "tail",
    "rm",
    "mv",
    "flock",
    "apt-get",
    "python3",
)


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH folder with what any Debian has and nothing that guestcert needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in BASE_TOOLS:
        if found := shutil.which(tool):
            (folder / tool).symlink_to(Path(found).resolve() if tool != "python3" else found)
    return folder


def launch(
    *arguments: str, path: Path | str, launcher: Path = CHECKOUT / "guestcert", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(launcher), *arguments],
        env={**os.environ, "PATH": str(path)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_no_install_names_what_is_missing_and_how_to_get_it(bare_path: Path) -> None:
    result = launch("--no-install", "run", path=bare_path)
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert "apt-get install" in lines[0]
    for package in ("qemu-system-x86", "mmdebstrap", "mtools", "xorriso"):
        assert package in lines[0]
    assert "openssh-server" not in lines[0], "only the harness's own tests need an SSH server"


def test_a_user_without_sbin_on_the_path_needs_nothing_more() -> None:
    bins = [folder for folder in os.environ["PATH"].split(":") if not folder.endswith("sbin")]
    result = launch("--no-install", "version", path=":".join(bins))
    assert result.returncode == 0, result.stderr


def test_the_tests_need_more_than_a_run_does(bare_path: Path) -> None:
    result = launch("--no-install", "test", path=bare_path)
    assert result.returncode == 2
    assert "missing host packages" in result.stderr


def test_no_install_refuses_to_make_the_environment(tmp_path: Path) -> None:
    for name in ("guestcert", "pyproject.toml", "constraints.txt"):
        shutil.copy2(CHECKOUT / name, tmp_path / name)
    result = launch("--no-install", "matrix", "list", path=os.environ["PATH"], launcher=tmp_path / "guestcert")
    assert result.returncode == 2
    assert "run ./guestcert without --no-install" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_works_from_any_folder_and_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "guestcert"
    link.symlink_to(CHECKOUT / "guestcert")
    result = launch("--no-install", "version", path=os.environ["PATH"], launcher=link, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("guestcert ")


def test_the_launcher_is_plain_posix_sh() -> None:
    dash = shutil.which("dash") or "sh"
    assert subprocess.run([dash, "-n", str(CHECKOUT / "guestcert")], check=False).returncode == 0
