"""`guestcert hosts probe` as a user calls it, on libvirt's built-in test driver, which says little about its host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from cli.main import run
from fixtures.host_layers import FEATURES
from matrix.model import MeasuredHost

HOSTS = """\
hosts:
  - {id: pretended, uri: "test:///default"}
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a file with a host."""
    monkeypatch.setenv("GUESTCERT_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "lab.yaml"
    file.write_text(HOSTS)
    return str(file)


def test_layers_are_printed_and_what_nobody_said_is_unknown(lab: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hosts", "probe", lab]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["pretended", "test:///default"]
    rows = {cells[0]: cells[1:] for line in lines if len(cells := line.strip("│").replace("│", " ").split()) > 1}
    assert rows["svm"] == ["unknown"] * 5
    assert [name for name in rows if name in FEATURES] == list(FEATURES)


def test_the_document_is_what_explain_takes(lab: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["hosts", "probe", "--json", lab]) == 0
    said = capsys.readouterr().out
    (host,) = TypeAdapter(list[MeasuredHost]).validate_json(said)
    assert host.layers["svm"].model_dump() == dict.fromkeys(["cpu", "firmware", "kernel", "hypervisor", "worked"])
    document = tmp_path / "measured.json"
    document.write_text(said)
    assert run(["matrix", "explain", "--measured", str(document), "--json", "debian-12+kvm+svm"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["reason"] == "no host offers kvm"
