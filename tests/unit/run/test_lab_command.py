"""`guestcert lab` as a user calls it, as far as no lab host has to run: each mistake is one line with a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import run

HOSTS = """\
hosts:
  - {id: lab-own, uri: "qemu+ssh:///system", lab_host: own}
"""
LAB_HOST = """\
id: own
name: A lab host of one's own
vendor: Acme
version: "1"
image: own
"""
IMAGE = """\
kind: url
id: own
name: A lab host's image
origin: a test
url: file:///nowhere/own.qcow2
sha256: "0000000000000000000000000000000000000000000000000000000000000000"
"""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runtime"
    monkeypatch.setenv("GUESTCERT_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    folder = tmp_path / "overlay"
    for name, content in (("hosts/own", HOSTS), ("lab_hosts/own", LAB_HOST), ("images/own", IMAGE)):
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(content)
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(["lab", *arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "lab-kv"], "lab: lab-kv: unknown lab host 'lab-kv', did you mean 'lab-kvm'? (allowed: "),
        (["up", "local"], "lab: local: is no lab host (lab hosts: "),
        (["down", "lab-kvm"], "lab: lab-kvm: is not up (up: none)"),
        (["shell", "lab-kvm", "ls", "--all"], "lab: lab-kvm: is not up (up: none); start it with: guestcert lab up"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    status, out, err = call(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(said)


def test_an_image_that_cannot_be_had_is_one_line(
    capsys: pytest.CaptureFixture[str], overlay: Path, runtime: Path
) -> None:
    status, out, err = call(capsys, "up", "lab-own", "--matrix", str(overlay))
    assert (status, out) == (3, "")
    assert "/nowhere/own.qcow2" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert list((runtime / "lab").iterdir()) == []


def test_nothing_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "status") == (0, "no lab host is up; start them with: guestcert lab up\n", "")
    assert call(capsys, "status", "--json") == (0, "[]\n", "")
    assert call(capsys, "down") == (0, "no lab host is up\n", "")
