"""Probes found without importing them, and everything that lint says."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from matrix.lint import lint
from matrix.load import load
from matrix.probes import scan, unknown_probes
from tests.unit.matrix.matrix_examples import GUEST, write_overlay

TODAY = date(2026, 1, 1)
SUITES = Path(__file__).parents[3] / "suites"


def write_suite(root: Path, **sources: str) -> Path:
    """`boot__cold="..."` becomes boot/test_cold.py."""
    for name, source in sources.items():
        area, _, topic = name.partition("__")
        (root / area).mkdir(parents=True, exist_ok=True)
        (root / area / f"test_{topic}.py").write_text(source)
    return root


def test_probes_are_read_without_running_their_code(tmp_path: Path) -> None:
    root = write_suite(
        tmp_path,
        boot__cold="import does_not_exist\nraise SystemExit\n\ndef test_cold_boot(guest): ...\ndef helper(): ...\nclass X:\n    def test_no(self): ...\n",
        time__drift=(
            "import pytest\npytestmark = [pytest.mark.requires('x86')]\n"
            "@pytest.mark.requires('agent', 'vcpus>=2')\n@pytest.mark.slow\nasync def test_drift(guest): ...\n"
        ),
    )
    probes = scan([root])
    assert probes.problems == []
    assert {probe.id: (probe.line, probe.requires) for probe in probes.found.values()} == {
        "boot/cold_boot": (4, ()),
        "time/drift": (5, ("x86", "agent", "vcpus>=2")),
    }


def test_what_is_wrong_with_suites_is_said(tmp_path: Path) -> None:
    root = write_suite(
        tmp_path,
        boot__a="def test_x(): ...\n",
        boot__b="\ndef test_x(): ...\ndef test_Upper(): ...\n",
        cpu__c="def (:\n",
    )
    (root / "cpu" / "test_nul.py").write_bytes(b"a\0b")
    (root / "cpu" / "test_folder.py").mkdir()
    lines = [str(problem).replace(f"{root}/", "") for problem in scan([root, root / "missing"]).problems]
    assert lines[0] == "boot/test_b.py:2: probe boot/x is already in boot/test_a.py:1"
    assert lines[1] == "boot/test_b.py:3: probe 'boot/Upper' must be a probe id <area>/<name> of a-z, 0-9 and '_'"
    assert lines[2].startswith("cpu/test_c.py:1: cannot be read as Python: SyntaxError")
    assert lines[3].startswith("cpu/test_folder.py: cannot be read as Python: IsADirectoryError")
    assert lines[4].startswith("cpu/test_nul.py")
    assert lines[5] == "missing: is not a folder"


def test_a_later_suites_folder_replaces_probes(tmp_path: Path) -> None:
    first = write_suite(tmp_path / "1", boot__a="def test_x(): ...\n")
    second = write_suite(tmp_path / "2", boot__b="def test_x(): ...\n")
    probes = scan([first, second])
    assert probes.problems == []
    assert probes.found["boot/x"].file == str(second / "boot/test_b.py")


def test_a_profile_naming_an_unknown_probe_is_a_mistake_at_its_line(tmp_path: Path) -> None:
    text = "profiles:\n  - id: mine\n    extends: base\n    required:\n      - boot/cold_boot\n      - boot/cold_bot\n  - id: base\n    optional: [cpu/x]\n"
    matrix = load([write_overlay(tmp_path, profiles=text)])
    known = ["boot/cold_boot", "time/drift"]
    lines = [str(problem).replace(f"{tmp_path}/", "") for problem in unknown_probes(matrix, known, ["mine"])]
    assert lines == [
        "profiles.yaml:6: required[1]: unknown probe 'boot/cold_bot', did you mean 'boot/cold_boot'? (allowed: boot/cold_boot)",
        "profiles.yaml:8: optional[0]: unknown probe 'cpu/x' (allowed: boot/cold_boot, time/drift)",
    ]
    assert unknown_probes(matrix, [*known, "boot/cold_bot", "cpu/x"], ["mine"]) == []


@pytest.fixture
def findings(tmp_path: Path) -> list[str]:
    overlay = write_overlay(
        tmp_path / "overlay",
        guests__old=GUEST.format(id="old")
        + "end_of_life: 2025-12-31\ncpu: {disable: [cx16], hypervisors: [qemu-*, kvn]}\n",
        guests__s390=GUEST.format(id="s390") + "arch: ppc64le\n",
        extensions="extensions:\n  - {id: vhe, name: Arm VHE}\n",
        hypervisors="hypervisors:\n  - {id: qemu-tcg, name: x, driver: qemu, extensions: [none]}\n",
        rules=(
            "rules:\n"
            "  - {id: over, kind: known-issue, reason: x, expires: 2025-12-31}\n"
            "  - {id: today, kind: known-issue, reason: x, expires: 2026-01-01}\n"
            "  - {id: typo, kind: exclude, guest: [debain-*], reason: x}\n"
            "  - {id: never, kind: exclude, hypervisor: qemu-tcg, extension: svm, reason: x}\n"
            "  - {id: probes, kind: known-issue, probes: ['boot/*', 'boto/*'], reason: x, expires: 2027-01-01}\n"
        ),
        profiles="profiles:\n  - {id: smoke, required: [boot/cold_boot, boot/gone]}\n  - {id: standard}\n  - {id: console}\n  - {id: secure-boot}\n  - {id: full}\n",
    )
    suites = write_suite(
        tmp_path / "suites",
        boot__a="import pytest\n@pytest.mark.requires('agnet')\ndef test_cold_boot(): ...\n@pytest.mark.requires('a b')\ndef test_extra(): ...\n",
    )
    images = {guest.image: {guest.boot} for guest in load().guests.values()}
    images["debian-12"] = {"direct", "loader"}
    images["s390"] = {"loader"}
    found = lint(load([overlay]), today=TODAY, probes=scan([suites]), images=images)
    return [str(finding).replace(f"{tmp_path}/", "") for finding in found]


@pytest.mark.parametrize(
    "line",
    [
        "mistake: overlay/guests/old.yaml:5: image: unknown image 'old' (allowed: ",
        "mistake: overlay/guests/s390.yaml:1: boot: must be 'loader': image 's390' has no kernel beside its disk",
        "mistake: overlay/profiles.yaml:2: required[1]: unknown probe 'boot/gone', did you mean 'boot/extra'? (allowed: boot/cold_boot, boot/extra)",
        "mistake: suites/boot/test_a.py:3: requires: unknown capability 'agnet', did you mean 'agent'?",
        "mistake: suites/boot/test_a.py:5: requires: 'a b' is no requirement (allowed: name, !name, name>=2, name==word, a|b)",
        "warning: suites/boot/test_a.py:5: probe boot/extra is in no profile",
        "warning: overlay/guests/old.yaml:6: end_of_life: guest 'old' is past its end of life 2025-12-31",
        "warning: overlay/guests/old.yaml:7: cpu: guest 'old' names 'kvn', which matches no hypervisor",
        "warning: overlay/guests/s390.yaml:6: arch: guest 's390' is ppc64le, which no hypervisor runs",
        "warning: overlay/extensions.yaml:2: id: extension 'vhe' is used by no hypervisor",
        "warning: overlay/rules.yaml:2: expires: rule 'over' expired on 2025-12-31 and no longer holds",
        "warning: overlay/rules.yaml:4: guest: rule 'typo' names 'debain-*', which matches no guest",
        "warning: overlay/rules.yaml:5: id: rule 'never' covers no cell",
        "warning: overlay/rules.yaml:6: probes: rule 'probes' names 'boto/*', which matches no probe",
    ],
)
def test_lint_says(findings: list[str], line: str) -> None:
    assert any(finding.startswith(line) for finding in findings), "\n".join(findings)


def test_lint_says_nothing_else_and_mistakes_first(findings: list[str]) -> None:
    assert len(findings) == 14, "\n".join(findings)
    assert [finding.partition(":")[0] for finding in findings] == ["mistake"] * 5 + ["warning"] * 9


def test_shipped_data_and_suites_fit_together() -> None:
    found = lint(load(), today=TODAY, probes=scan([SUITES]))
    assert [str(finding) for finding in found if finding.severity == "mistake"] == []
