"""What vendors claim: loaded with its sources, found by cell, and never taken for a verdict."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from cli.main import run
from matrix.claim import Claim, claims_about
from matrix.glob import Ids
from matrix.lint import lint
from matrix.load import load
from matrix.mistakes import Mistakes
from tests.unit.matrix.matrix_examples import write_overlay

TODAY = date(2026, 11, 28)
SOURCES = "sources:\n  - {id: acme, title: Acme's list, url: 'https://acme.example/list', published: '2026-11', first_party: true}\n"
CLAIMS = """\
claims:
  - id: acme-linux
    says: {guest: Debian 12, hypervisor: Acme Hypervisor 3 (KVM), statement: supported, qualifier: by phone, source: acme}
    about: {guest: debian-12, hypervisor: kvm, extension: svm}
"""


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(["matrix", "claims", *arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


def mistakes_of(root: Path) -> str:
    with pytest.raises(Mistakes) as caught:
        load([root])
    return str(caught.value).replace(f"{root}/", "")


def test_every_shipped_claim_has_a_row_and_a_source() -> None:
    matrix = load()
    hypervisors = Ids(matrix.hypervisors)
    assert len(matrix.claims) >= 60
    for claim in matrix.claims.values():
        assert hypervisors.any_of(claim.about.hypervisor), claim.id
        assert claim.says.source in matrix.sources
    assert {claim.says.source for claim in matrix.claims.values()} == set(matrix.sources)


def test_old_claims_have_a_place_at_systems_that_nothing_runs_any_more() -> None:
    matrix = load()
    of_old = claims_about(matrix.claims.values(), "windows-server-2019", "virtual-server-2005-r2-sp1", "none")
    assert of_old == []  # they speak of guests that we have no row for
    assert "virtual-server-2005-r2-sp1" in {name for claim in matrix.claims.values() for name in claim.about.hypervisor}


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        (("debian-12", "kvm", "svm"), True),
        (("debian-12", "kvm", "vmx"), False),
        (("debian-13", "kvm", "svm"), False),
        (("debian-12", "xen-pv", "svm"), False),
    ],
)
def test_a_claim_speaks_of_the_cells_that_all_its_axes_match(
    cell: tuple[str, str, str], found: bool, tmp_path: Path
) -> None:
    matrix = load([write_overlay(tmp_path, sources=SOURCES, claims=CLAIMS)])
    mine = [matrix.claims["acme-linux"]]
    assert claims_about(mine, *cell) == (mine if found else [])


def test_a_claim_without_guests_speaks_of_none_of_ours() -> None:
    says = {"guest": "appliances", "hypervisor": "ours", "statement": "supported", "source": "acme"}
    claim = Claim.model_validate({"id": "a", "says": says, "about": {"hypervisor": "*"}})
    assert claims_about([claim], "debian-12", "kvm", "svm") == []


def test_mistakes_name_file_line_and_field(tmp_path: Path) -> None:
    wrong = CLAIMS.replace("source: acme", "source: acne").replace("statement: supported", "statement: great")
    line = mistakes_of(write_overlay(tmp_path / "a", sources=SOURCES, claims=wrong))
    assert line.startswith("claims.yaml:3: claims[0].says.statement: ")
    line = mistakes_of(
        write_overlay(tmp_path / "b", sources=SOURCES, claims=CLAIMS.replace("source: acme", "source: acne"))
    )
    assert line.startswith("claims.yaml:3: says.source: unknown source 'acne', did you mean 'acme'?")
    assert "\n" not in line
    line = mistakes_of(write_overlay(tmp_path / "c", sources=SOURCES.replace("'2026-11'", "2026"), claims=CLAIMS))
    assert line.startswith("sources.yaml:2: sources[0].published: ")


def test_lint_tells_of_claims_without_a_row_and_sources_without_a_claim(tmp_path: Path) -> None:
    assert not [finding for finding in lint(load(), today=TODAY) if "claims.yaml" in str(finding)]
    lost = write_overlay(tmp_path, sources=SOURCES, claims=CLAIMS.replace("hypervisor: kvm,", "hypervisor: kvm2,"))
    lines = [str(finding).replace(f"{lost}/", "") for finding in lint(load([lost]), today=TODAY)]
    assert "warning: claims.yaml:4: about: claim 'acme-linux' names 'kvm2', which matches no hypervisor" in lines
    unused = write_overlay(tmp_path / "unused", sources=SOURCES)
    lines = [str(finding).replace(f"{unused}/", "") for finding in lint(load([unused]), today=TODAY)]
    assert "warning: sources.yaml:2: id: source 'acme' is named by no claim" in lines


def test_claims_are_listed_with_their_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = str(write_overlay(tmp_path, sources=SOURCES, claims=CLAIMS))
    status, out, err = call(capsys, "--matrix", root, "debian-12+kvm+*")
    assert (status, err) == (0, "")
    assert out.splitlines()[-4:] == [
        "Debian 12 on Acme Hypervisor 3 (KVM): supported (by phone)",
        "    Acme's list, 2026-11: https://acme.example/list",
        "    speaks of debian-12+kvm+svm",
        out.splitlines()[-1],
    ]
    status, out, _ = call(capsys)
    assert status == 0
    assert "Windows with VM Additions on Virtual Server 2005 R2 SP1: supported (hw assist optional, little gain)" in out
    assert "speaks of" not in out


def test_claims_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = str(write_overlay(tmp_path, sources=SOURCES, claims=CLAIMS))
    status, out, _ = call(capsys, "--matrix", root, "--json", "--guest", "debian-12", "--hypervisor", "kvm")
    (mine,) = [claim for claim in json.loads(out) if claim["id"] == "acme-linux"]
    assert status == 0
    assert mine["statement"] == "supported"
    assert mine["source"]["url"] == "https://acme.example/list"
    assert mine["cells"] == ["debian-12+kvm+svm"]


def test_an_unknown_cell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(capsys, "debian-12+nothing+*")
    assert (status, out) == (2, "")
    assert err.startswith("--cell: ")
    assert err.count("\n") == 1
