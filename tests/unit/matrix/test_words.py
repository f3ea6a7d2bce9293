"""Words of the matrix, ids and free text: what is hostile in them is refused, or stays data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.load import load
from matrix.words import check_id, check_text
from tests.unit.matrix.matrix_examples import GUEST, mistakes_of, write_overlay

HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "..",
    ".",
    "a..b",
    "-rf",
    "a b",
    "a\tb",
    "$(reboot)",
    "`id`",
    "a;b",
    "a|b",
    "a&b",
    "<a>",
    "a'b",
    'a"b',
    "a+b",
    "a::b",
    "a@b",
    "A",
    "é",
    "%2e%2e",
    "{}",
    "a" * 64,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_ids_are_never_paths_or_commands(name: str) -> None:
    with pytest.raises(ValueError, match="must be an id"):
        check_id(name)


@pytest.mark.parametrize("name", ["\0", "a\n", ""])
def test_ids_are_never_empty_and_have_no_line_ends(name: str) -> None:
    with pytest.raises(ValueError, match="must be an id"):
        check_id(name)


@pytest.mark.parametrize("field", ["id", "image"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_ids_in_files_are_one_clear_line(tmp_path: Path, field: str, name: str) -> None:
    quoted = name.replace("'", "''")
    text = re.sub(rf"^{field}: .*$", lambda _: f"{field}: '{quoted}'", GUEST.format(id="g"), flags=re.MULTILINE)
    lines = mistakes_of(write_overlay(tmp_path, guests__g=text))
    assert len(lines) == 1, lines
    assert f": {field}: must be an id: " in lines[0] or "is not YAML" in lines[0]


def test_metacharacters_in_free_text_stay_data(tmp_path: Path) -> None:
    text = "]]></x>&lt;'\"$(id)`id`;|&%s{0}\\"
    quoted = text.replace("'", "''")
    root = write_overlay(tmp_path, guests__g=GUEST.format(id="g").replace("A guest", f"'{quoted}'"))
    assert load([root]).guests["g"].name == text


@given(st.text(max_size=100))
def test_text_is_either_refused_or_one_printable_line(text: str) -> None:
    try:
        check_text(text)
    except ValueError:
        return
    assert text.strip()
    assert len(text.splitlines()) == 1
    assert "\0" not in text
    assert "\x1b" not in text


@given(st.text(st.characters(max_codepoint=0x17F), max_size=70))
def test_ids_that_pass_are_safe_in_paths_and_node_ids(text: str) -> None:
    try:
        check_id(text)
    except ValueError:
        return
    assert re.fullmatch(r"[a-z0-9._-]{1,63}", text)
    assert (Path("/cells") / text).resolve().parent == Path("/cells")
    assert not text.startswith(("-", "."))
