"""Strict YAML: what is read, and that hostile input is refused with one clear line and never hangs or crashes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from matrix.tree import MAX_BYTES, MAX_DEPTH, Unreadable, parse_tree, read_tree


def problem_of(text: str) -> str:
    with pytest.raises(Unreadable) as caught:
        parse_tree(text, "f.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("no", "no"),
        ("on", "on"),
        ("Y", "Y"),
        ("0644", "0644"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2028-06-30", "2028-06-30"),
        (".inf", ".inf"),
        ("1e400", "1e400"),
        ('"12"', "12"),
        ("'true'", "true"),
        ("none", "none"),
    ],
)
def test_plain_scalars_mean_what_a_reader_expects(plain: str, value: object) -> None:
    assert parse_tree(f"a: {plain}", "f").data == {"a": value}


def test_every_field_has_its_line() -> None:
    tree = parse_tree("# comment\na: 1\nb:\n  - x\n  - c: 2\n    d: |\n      text\n", "f")
    assert tree.lines == {
        (): 2,
        ("a",): 2,
        ("b",): 3,
        ("b", 0): 4,
        ("b", 1): 5,
        ("b", 1, "c"): 5,
        ("b", 1, "d"): 6,
    }
    assert tree.line(("b", 1, "c", "beyond")) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\nb: 2", "f.yaml:1: must not use YAML anchors: &x"),
        ("b: *x", "f.yaml:1: must not use YAML aliases: *x"),
        (
            "a: 1\nb: !!python/object/apply:os.system [id]",
            "f.yaml:2: must not use YAML tags: tag:yaml.org,2002:python/object/apply:os.system",
        ),
        ("a: !include x", "f.yaml:1: must not use YAML tags: !include"),
        ("a: 1\n---\nb: 2", "f.yaml:2: must hold one document, has a second '---'"),
        ("? [a]\n: 1", "f.yaml:1: must have text as keys, not lists or mappings"),
    ],
)
def test_refuses_what_plain_data_does_not_need(text: str, expected: str) -> None:
    assert problem_of(text) == expected


def test_billion_laughs_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [lol]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
    )
    assert problem_of(bomb) == "f.yaml:1: must not use YAML anchors: &a"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused(opening: str) -> None:
    assert problem_of(opening * 20_000).endswith(f"must be nested at most {MAX_DEPTH} deep")


def test_duplicate_keys_are_problems_and_reading_goes_on() -> None:
    tree = parse_tree("a: 1\nb: {c: 1, c: [2, {d: 3}]}\na: 2\n", "f")
    assert [str(problem) for problem in tree.problems] == [
        "f:2: b.c: must be there once, is already on line 2",
        "f:3: a: must be there once, is already on line 1",
    ]
    assert tree.data == {"a": 1, "b": {"c": 1}}


def test_long_numbers_are_refused_not_converted() -> None:
    tree = parse_tree(f"a: {'9' * 5000}", "f")
    assert str(tree.problems[0]).startswith("f:1: a: must be a number of at most 18 digits")


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", "\tx", "a: 'x", "a: \x00", "a: \x1b[31m", "%YAML 9.9\n---\na", "@x", "a: \ud800"]
)
def test_what_is_not_yaml_is_said_in_one_line(text: str) -> None:
    assert "is not YAML" in problem_of(text)


def test_huge_files_are_refused_without_being_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES * 1000)
    with pytest.raises(Unreadable, match=f"must be at most {MAX_BYTES // 1024} KiB"):
        read_tree(path)


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(Unreadable) as caught:
        read_tree(path)
    assert str(caught.value) == f"{path}:2: must be UTF-8, has byte 0xe9"


def test_folder_fifo_missing_and_dangling_are_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to("nowhere")
    said = {}
    for name in ("fifo", "folder", "link", "missing"):
        with pytest.raises(Unreadable) as caught:
            read_tree(tmp_path / f"{name}.yaml")
        said[name] = caught.value.problem.message
    assert said == {
        "fifo": "must be a regular file",
        "folder": "must be a regular file, is a folder",
        "link": "cannot be read: No such file or directory",
        "missing": "cannot be read: No such file or directory",
    }


def test_a_nul_in_the_name_is_said() -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        read_tree(Path("a\0b.yaml"))


def test_byte_order_mark_is_taken() -> None:
    assert parse_tree("\ufeffa: 1\n", "f").data == {"a": 1}


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcXYZ_- 09", min_size=1, max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_json)
def test_reads_back_any_data_written_as_json(data: object) -> None:
    # JSON is YAML, so this needs no YAML writer that shares a mistake with the reader.
    assert parse_tree(json.dumps({"data": data}), "f").data == {"data": data}


@given(_json)
def test_reads_back_any_data_written_as_block_yaml(data: object) -> None:
    text = yaml.safe_dump({"data": data}, sort_keys=False)
    try:
        read = parse_tree(text, "f").data
    except Unreadable as error:
        assert "anchor" in str(error)  # noqa: PT017 -- PyYAML writes an anchor when one object is there twice
    else:
        assert read == {"data": data}


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        tree = parse_tree(text, "f")
    except Unreadable as error:
        assert str(error).isprintable()  # noqa: PT017 -- either outcome is right
    else:
        assert all(str(problem).isprintable() for problem in tree.problems)


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(raw)
    try:
        read_tree(path)
    except Unreadable as error:
        assert str(error).isprintable()  # noqa: PT017 -- either outcome is right
