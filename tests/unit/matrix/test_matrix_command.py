"""`guestcert matrix` as a user calls it: output, one line for each mistake, exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import run
from tests.unit.matrix.matrix_examples import GUEST, host, write_overlay


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(["matrix", *arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


@pytest.fixture
def measured(tmp_path: Path) -> str:
    local = host("local", **{"hypervisor_qemu-tcg": True, "hypervisor_kvm": True, "extension_svm": True})
    path = tmp_path / "measured.json"
    path.write_text(f"[{local.model_dump_json()}]")
    return str(path)


def test_list_shows_every_cell_and_what_is_said_about_it(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(capsys, "list", "--guest", "debian-*", "--cell", "*+none")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "debian-12+qemu-tcg+none" in lines
    assert any(
        line.startswith("debian-13+vmware-server+none ") and line.endswith("vmware-server was never run here")
        for line in lines
    )
    assert "profile standard: " in lines[-1]


def test_list_leaves_out_what_was_never_run_here_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    root = write_overlay(tmp_path, guests__vendor=GUEST.format(id="vendor") + "never_run_here: true\n")
    status, out, _ = call(capsys, "list", "--matrix", str(root))
    assert status == 0
    assert "vendor+" not in out
    assert (
        "guests that were never run here, or are run on request, are left out; --guest '*' lists them too"
        in out.splitlines()[-1]
    )
    status, out, _ = call(capsys, "list", "--matrix", str(root), "--guest", "vendor")
    assert status == 0
    assert "vendor+qemu-tcg+none" in out
    assert "left out" not in out


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "list", "--json", "--profile", "smoke", "--cell", "debian-12+qemu-tcg+none")
    data = json.loads(out)
    assert status == 0
    assert len(data["profile"]["required"]) == 16
    assert data["cells"] == [
        {
            "id": "debian-12+qemu-tcg+none",
            "guest": "debian-12",
            "hypervisor": "qemu-tcg",
            "extension": "none",
            "excluded": None,
            "known_issues": [],
            "never_run_here": False,
            "end_of_life": "2028-06-30",
        }
    ]


def test_explain_gives_the_host_or_the_one_reason(capsys: pytest.CaptureFixture[str], measured: str) -> None:
    status, out, err = call(capsys, "explain", "debian-12+qemu-tcg+none", "debian-12+kvm+*", "--measured", measured)
    assert (status, err) == (0, "")
    assert [line.split(None, 1) for line in out.splitlines()] == [
        ["debian-12+qemu-tcg+none", "runs on local"],
        ["debian-12+kvm+vmx", "untested: no host offers vmx"],
        ["debian-12+kvm+svm", "runs on local"],
    ]


def test_explain_as_json(capsys: pytest.CaptureFixture[str], measured: str) -> None:
    _, out, _ = call(capsys, "explain", "debian-13+kvm+vmx", "--measured", measured, "--json")
    assert json.loads(out) == [
        {"id": "debian-13+kvm+vmx", "host": None, "reason": "no host offers vmx", "alternatives": [], "image": None}
    ]


def test_explain_says_what_an_image_still_wants(capsys: pytest.CaptureFixture[str], measured: str) -> None:
    cells = ("openbsd+qemu-tcg+none", "openeuler-24.03-sp4+qemu-tcg+none")
    _, out, _ = call(capsys, "explain", *cells, "--measured", measured)
    (supplied, unpinned) = out.splitlines()
    assert "runs on local; but image openeuler-24.03-sp4 has no digest yet" in unpinned
    assert unpinned.endswith("first: guestcert images pin openeuler-24.03-sp4")
    assert "runs on local; but image openbsd has to be supplied: get " in supplied


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["list", "--guest", "debain-12"],
            "--guest: unknown guest 'debain-12', did you mean 'debian-12'? (allowed: ",
        ),
        (["list", "--cell", "x;y"], "--cell: must be a glob of a-z, 0-9, "),
        (["list", "--profile", "smok"], "--profile: unknown profile 'smok', did you mean 'smoke'?"),
        (["list", "--matrix", "/nonexistent"], "/nonexistent: is not a folder"),
        (["explain", "nothing+at+all"], "--cell: no cell is called 'nothing+at+all'"),
        (["explain", "--hosts", "nowhere"], "--hosts: unknown lab or host 'nowhere' (allowed: default, "),
        (["explain", "--measured", "/nonexistent"], "/nonexistent: cannot be read: No such file or directory"),
        (["list", "--guest", "debian-12", "--cell", "debian-13+*"], "matrix: no cell is selected"),
        (["lint", "--suites", "/nonexistent"], ""),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    status, _, err = call(capsys, *arguments)
    assert status == 2
    assert err.startswith(error)
    assert len(err.splitlines()) == bool(error)


def test_an_option_that_is_not_there_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = call(capsys, "list", "--bogus")
    assert status == 2
    assert "--bogus" in err


def test_measured_hosts_that_are_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "measured.json"
    for text in ("", "{}", '[{"id": "a"}]', '[{"id": "../a", "uri": "qemu:///embed", "x": 1}]', "\0"):
        path.write_text(text)
        status, _, err = call(capsys, "explain", "--measured", str(path))
        assert status == 2
        assert err
        assert all(line.startswith(f"{path}: ") for line in err.splitlines())


def test_all_mistakes_of_an_overlay_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = write_overlay(
        tmp_path,
        guests__a=GUEST.format(id="a") + "x: 1\n",
        guests__b=GUEST.format(id="b") + "y: 1\n",
        rules="rules: 1\n",
    )
    status, out, err = call(capsys, "list", "--matrix", str(root))
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 3


def test_lint_of_an_overlay_with_an_unknown_probe(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = write_overlay(tmp_path, profiles="profiles:\n  - {id: mine, required: [boot/never_heard_of]}\n")
    status, out, _ = call(capsys, "lint", "--matrix", str(root))
    assert status == 2
    assert f"mistake: {root}/profiles.yaml:2: required[0]: unknown probe 'boot/never_heard_of' (allowed: boot/" in out
