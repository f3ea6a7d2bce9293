"""Loading: the shipped data, overlays, and every mistake named by file, line and field, all at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from matrix.document import load_documents, read_document
from matrix.load import choose_hosts, load, resolve_profile
from matrix.mistakes import Mistakes
from matrix.model import GuestSpec, Rule
from tests.unit.matrix.matrix_examples import GUEST, mistakes_of, write_overlay


def test_shipped_data_is_right() -> None:
    matrix = load()
    assert {"debian-12", "debian-13"} <= set(matrix.guests)
    assert {"qemu-tcg", "kvm", "xen-pv", "xen-pvh", "xen-hvm"} <= set(matrix.hypervisors)
    assert set(matrix.extensions) == {"none", "vmx", "svm"}
    assert [host.uri for host in matrix.labs["default"]] == ["qemu:///embed"]
    assert matrix.guests["debian-12"].end_of_life == date(2028, 6, 30)


def test_profiles_contain_the_ones_they_extend() -> None:
    matrix = load()
    smoke, standard, full = (resolve_profile(matrix, name).required for name in ("smoke", "standard", "full"))
    assert len(smoke) == 16
    assert standard[: len(smoke)] == smoke
    assert full[: len(standard)] == standard
    assert resolve_profile(matrix, "full").extends is None


def test_unknown_profile_says_what_there_is() -> None:
    with pytest.raises(
        Mistakes, match=r"^--profile: unknown profile 'smok', did you mean 'smoke'\? \(allowed: smoke, "
    ):
        resolve_profile(load(), "smok")


def test_all_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    root = write_overlay(
        tmp_path,
        guests__bad=GUEST.format(id="bad").replace('"1"', "1")
        + "vcpu: 2\nresources: {vcpus: two, memory_mib: 4}\nend_of_life: 20280630\n",
        guests__none="name: nothing else\n",
        rules="rules:\n  - id: a\n    kind: exlude\n    reason: x\n  - id: b\n    kind: known-issue\n    reason: y\n",
        hypervisors="hypervisor: []\n",
        profiles="- smoke\n",
    )
    lines = mistakes_of(root)
    assert "guests/bad.yaml:4: version: must be text, not 1; put it in quotes" in lines
    assert "guests/bad.yaml:7: resources.vcpus: must be a whole number, not 'two'" in lines
    assert "guests/bad.yaml:7: resources.memory_mib: must be at least 8, not 4" in lines
    assert "guests/bad.yaml:8: end_of_life: must be a date YYYY-MM-DD; not 20280630" in lines
    assert "guests/none.yaml:1: id: is missing" in lines
    assert "guests/none.yaml:1: image: is missing" in lines
    assert (
        "hypervisors.yaml:1: hypervisor: unknown key 'hypervisor', did you mean 'hypervisors'? (allowed: hypervisors)"
        in lines
    )
    assert "hypervisors.yaml:1: hypervisors: is missing" in lines
    assert "profiles.yaml:1: must be a mapping with the key 'profiles', not a list" in lines
    assert "rules.yaml:3: rules[0].kind: must be 'include', 'exclude' or 'known-issue', not 'exlude'" in lines
    assert "rules.yaml:5: rules[1]: a known-issue needs an expiry date: expires: YYYY-MM-DD" in lines
    (unknown_key,) = [line for line in lines if "unknown key 'vcpu'" in line]
    assert unknown_key.startswith(
        "guests/bad.yaml:6: vcpu: unknown key 'vcpu', did you mean 'cpu'? (allowed: id, name, "
    )
    assert all(re.match(r"[\w/]+\.yaml:\d+: ", line) for line in lines)


def test_nested_unknown_key_lists_the_nested_model(tmp_path: Path) -> None:
    root = write_overlay(
        tmp_path, guests__g=GUEST.format(id="g") + "login:\n  usr: root\nkernel_log_exceptions:\n  - {patern: x}\n"
    )
    lines = mistakes_of(root)
    assert (
        "guests/g.yaml:7: login.usr: unknown key 'usr', did you mean 'user'? (allowed: user, channel, password_env, password_file, ready)"
        in lines
    )
    message = "unknown key 'patern', did you mean 'pattern'? (allowed: pattern, reason)"
    assert f"guests/g.yaml:9: kernel_log_exceptions[0].patern: {message}" in lines


@pytest.mark.parametrize(
    "word",
    [
        "2028-13-01",
        "2028-06-31",
        "30.06.2028",
        "tomorrow",
        '"2028-06-30T00:00:00"',
        "true",
        "[]",
        "1.5",
        '"0"',
        '"1830297600"',
    ],
)
def test_dates_have_one_form(tmp_path: Path, word: str) -> None:
    root = write_overlay(tmp_path, guests__g=GUEST.format(id="g") + f"end_of_life: {word}\n")
    (line,) = mistakes_of(root)
    assert line.startswith("guests/g.yaml:6: end_of_life: must be a date YYYY-MM-DD; not ")


@pytest.mark.parametrize(
    ("field", "word", "message"),
    [
        ("agent", "yes", "must be true or false, not 'yes'"),
        ("agent", "1", "must be true or false, not 1"),
        ("resources", "512", "must be a mapping of keys to values, not 512"),
        ("resources", "{vcpus: 2.5}", "must be a whole number, not 2.5"),
        ("resources", "{vcpus: true}", "must be a whole number, not true"),
        ("resources", "{vcpus: 99999}", "must be at most 4096, not 99999"),
        ("kernel_command_line", "console=ttyS0", "must be a list, not 'console=ttyS0'"),
        ("kernel_command_line", '["a b"]', "must be one word of printable ASCII, at most 500 characters; not 'a b'"),
        ("os_release", "{ID: 1}", "must be text, not 1; put it in quotes"),
        (
            "os_release",
            "{lower: x}",
            "must be an os-release key of A-Z, 0-9 and '_', at most 63 characters; not 'lower'",
        ),
        ("firmware", "none", "must be 'bios', 'uefi' or 'uefi-secure-boot', not 'none'"),
        (
            "kernel_log_exceptions",
            "[{pattern: '(', reason: x}]",
            "must be a regular expression: missing ), unterminated",
        ),
        ("name", '"two\\nlines"', "must be one line of text without control characters, has U+000A"),
        ("name", '"\\0"', "must be one line of text without control characters, has U+0000"),
        ("name", '"\\e[31mred"', "must be one line of text without control characters, has U+001B"),
        ("name", '"\\u202Egnp.exe"', "must be one line of text without control characters, has U+202E"),
        ("name", '"  "', "must not be empty"),
        (
            "login",
            "{channel: console, password_env: my password}",
            "must be an environment variable's name of A-Z, 0-9 and '_', at most 63 characters; not 'my password'",
        ),
        (
            "login",
            "{password_env: A, password_file: b}",
            "password_env and password_file: only one of them can say the password",
        ),
        ("login", "{ready: '['}", "must be a regular expression: unterminated character set at position 0; not '['"),
        ("login", "{user: 'root; reboot'}", "must be a user name, at most 32 characters; not 'root; reboot'"),
        (
            "osinfo",
            "debian 12",
            "must be an address SCHEME://... without spaces, at most 1000 characters; not 'debian 12'",
        ),
    ],
)
def test_wrong_values_say_what_is_allowed(tmp_path: Path, field: str, word: str, message: str) -> None:
    text = "".join(line for line in GUEST.format(id="g").splitlines(keepends=True) if not line.startswith(f"{field}:"))
    lines = mistakes_of(write_overlay(tmp_path, guests__g=f"{text}{field}: {word}\n"))
    assert len(lines) == 1
    assert message in lines[0]


def test_same_id_twice_in_one_layer_is_a_mistake(tmp_path: Path) -> None:
    rule = "  - {id: r, kind: exclude, reason: x}\n"
    root = write_overlay(
        tmp_path, rules=f"rules:\n{rule}{rule}", hosts__a="hosts:\n  - {id: h, uri: 'qemu:///embed'}\n"
    )
    write_overlay(root, hosts__b="hosts:\n  - {id: h, uri: 'qemu:///system'}\n")
    lines = mistakes_of(root)
    assert lines == [
        "hosts/b.yaml:2: id: 'h' is already the id in hosts/a.yaml:2",
        "rules.yaml:3: id: 'r' is already the id in rules.yaml:2",
    ]


def test_a_guest_has_the_name_of_its_file(tmp_path: Path) -> None:
    lines = mistakes_of(write_overlay(tmp_path, guests__one=GUEST.format(id="two")))
    assert lines == ["guests/one.yaml:1: id: must be 'one', the name of its file, not 'two'"]


def test_later_overlays_win_by_id(tmp_path: Path) -> None:
    first = write_overlay(tmp_path / "1", guests__g=GUEST.format(id="g"), guests__h=GUEST.format(id="h"))
    second = write_overlay(tmp_path / "2", guests__g=GUEST.format(id="g").replace("A guest", "Another"))
    matrix = load([first, second])
    assert matrix.guests["g"].name == "Another"
    assert matrix.guests["h"].name == "A guest"
    assert matrix.origins["guest", "g"].file == str(second / "guests/g.yaml")
    assert "debian-12" in matrix.guests


def test_overlays_that_are_not_there_or_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Mistakes) as caught:
        load([tmp_path / "missing", tmp_path / "file", tmp_path / "empty"])
    lines = str(caught.value).splitlines()
    assert f"{tmp_path}/missing: is not a folder" in lines
    assert f"{tmp_path}/file: is not a folder" in lines
    assert any(line.startswith(f"{tmp_path}/empty: holds no matrix data; expected one of ") for line in lines)


def test_a_folder_with_mirrors_only_is_one(tmp_path: Path) -> None:
    (tmp_path / "mirrors.yaml").write_text("mirrors: []\n")
    assert load([tmp_path]).guests == load().guests


def test_a_folder_that_must_not_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "guests").mkdir(mode=0o300)
    body = "import sys\nfrom pathlib import Path\nfrom matrix.load import yaml_files\nfound = []\nyaml_files(Path(sys.argv[1]), found)\nprint(*found)\n"
    argv = [sys.executable, "-c", body, str(tmp_path / "guests")]
    if os.geteuid() == 0:
        # Root may read anything; without its capabilities it is an ordinary user to the kernel.
        argv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *argv]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert said == f"{tmp_path}/guests: cannot be read: Permission denied\n"


def test_folders_and_files_in_each_others_place(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").mkdir()
    (tmp_path / "hosts").write_text("x")
    (tmp_path / "guests" / "g.yaml").mkdir(parents=True)
    (tmp_path / "guests" / "h.yml").write_text("x")
    assert mistakes_of(tmp_path) == [
        "guests/g.yaml: must be a regular file, is a folder",
        "guests/h.yml: must end in .yaml",
        "hosts: must be a folder",
        "rules.yaml: must be a regular file, is a folder",
    ]


def test_empty_files_and_an_empty_matrix(tmp_path: Path) -> None:
    lines = mistakes_of(write_overlay(tmp_path, guests__g="", rules=""))
    assert lines == [
        "guests/g.yaml:1: must be a mapping of keys to values, not nothing",
        "rules.yaml:1: must be a mapping with the key 'rules', not nothing",
    ]
    with pytest.raises(Mistakes) as caught:
        load(shipped=write_overlay(tmp_path / "bare", rules="rules: []\n"))
    assert "matrix: is empty: there is no guest" in str(caught.value).splitlines()


def test_references_to_nothing(tmp_path: Path) -> None:
    root = write_overlay(
        tmp_path,
        hypervisors="hypervisors:\n  - id: hv\n    name: x\n    driver: d\n    extensions:\n      - none\n      - vmxx\n    successor: kmv\n",
        profiles="profiles:\n  - id: p\n    extends: smoek\n",
    )
    lines = mistakes_of(root)
    assert lines[0].startswith(
        "hypervisors.yaml:7: extensions.1: unknown extension 'vmxx', did you mean 'vmx'? (allowed: "
    )
    assert lines[1].startswith(
        "hypervisors.yaml:8: successor: unknown hypervisor 'kmv', did you mean 'kvm'? (allowed: "
    )
    assert lines[2].startswith("profiles.yaml:3: extends: unknown profile 'smoek', did you mean 'smoke'? (allowed: ")


def test_a_reference_to_an_item_with_mistakes_is_no_second_mistake(tmp_path: Path) -> None:
    root = write_overlay(tmp_path, profiles="profiles:\n  - {id: base, required: boot/x}\n  - {id: p, extends: base}\n")
    assert mistakes_of(root) == ["profiles.yaml:2: profiles[0].required: must be a list, not 'boot/x'"]


def test_cyclic_profiles_are_named_once(tmp_path: Path) -> None:
    root = write_overlay(
        tmp_path,
        profiles="profiles:\n"
        + "".join(
            f"  - {{id: {name}, extends: {base}}}\n"
            for name, base in [("a", "b"), ("b", "c"), ("c", "b"), ("d", "d"), ("e", "a")]
        ),
    )
    assert mistakes_of(root) == [
        "profiles.yaml:3: extends: goes in a circle: b -> c -> b",
        "profiles.yaml:5: extends: goes in a circle: d -> d",
    ]


def test_hosts_are_chosen_by_lab_id_or_file(tmp_path: Path) -> None:
    lab = "hosts:\n  - {id: one, uri: 'qemu+ssh://root@a/system', limits: {guests: 2}}\n  - {id: two, uri: 'xen+ssh://b/'}\n"
    matrix = load([write_overlay(tmp_path, hosts__rack=lab)])
    extra = tmp_path / "extra.yaml"
    extra.write_text("hosts: [{id: three, uri: 'qemu:///system'}]\n")
    chosen = choose_hosts(matrix, ["two", "rack", str(extra), "default"])
    assert [host.id for host in chosen] == ["two", "one", "three", "local"]
    assert chosen[1].limits.guests == 2
    with pytest.raises(Mistakes) as caught:
        choose_hosts(matrix, ["rakc", str(tmp_path / "no.yaml")])
    lines = str(caught.value).splitlines()
    assert any(
        line.startswith("--hosts: unknown lab or host 'rakc', did you mean 'rack'? (allowed: ") for line in lines
    )
    assert f"{tmp_path}/no.yaml: cannot be read: No such file or directory" in lines


def test_a_machine_may_belong_to_two_labs_but_be_one_thing_only(tmp_path: Path) -> None:
    one = "hosts:\n  - {id: one, uri: 'qemu+ssh://a/system'}\n"
    same = load([write_overlay(tmp_path / "same", hosts__day=one, hosts__night=one)])
    assert same.labs["day"] == same.labs["night"]
    other = one.replace("//a/", "//b/")
    with pytest.raises(Mistakes, match=r"night.yaml:2: id: 'one' is already the id in .*day.yaml:2"):
        load([write_overlay(tmp_path / "other", hosts__day=one, hosts__night=other)])


def test_a_host_names_a_lab_host_that_there_is(tmp_path: Path) -> None:
    root = write_overlay(tmp_path, hosts__rack="hosts:\n  - {id: one, uri: 'qemu+ssh:///system', lab_host: lab-kmv}\n")
    with pytest.raises(Mistakes, match=r"rack.yaml:2: lab_host: unknown lab host 'lab-kmv', did you mean 'lab-kvm'"):
        load([root])


def test_globs_of_a_rule_may_be_one_word_or_a_list() -> None:
    one = Rule.model_validate_json('{"id":"r","kind":"exclude","reason":"x","guest":"debian-*"}', strict=True)
    many = Rule.model_validate_json('{"id":"r","kind":"exclude","reason":"x","guest":["debian-*"]}', strict=True)
    assert one == many


class _Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cat"]
    lives: int


class _Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["dog"]
    name: str


_Animal = Annotated[_Cat | _Dog, Field(discriminator="kind")]


def test_unions_are_read_by_their_tag_with_true_field_names(tmp_path: Path) -> None:
    write_overlay(
        tmp_path,
        a="kind: cat\nlives: nine\nage: 3\n",
        b="kind: dgo\n",
        c="kind: dog\n",
        d="name: x\n",
        e="kind: cat\nlives: 9\n",
    )
    with pytest.raises(Mistakes) as caught:
        load_documents(sorted(tmp_path.glob("*.yaml")), _Animal)
    assert str(caught.value).replace(f"{tmp_path}/", "").splitlines() == [
        "a.yaml:2: lives: must be a whole number, not 'nine'",
        "a.yaml:3: age: unknown key 'age' (allowed: kind, lives)",
        "b.yaml:1: must be 'cat', 'dog', not 'dgo'",
        "c.yaml:1: name: is missing",
        "d.yaml:1: is missing: 'kind'",
    ]
    (document,) = load_documents([tmp_path / "e.yaml"], _Animal)
    assert document.value == _Cat(kind="cat", lives=9)
    assert document.origin.line("lives") == 2


_junk = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5000) | st.sampled_from(["x", "2028-06-30", "<&>", "a b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["vcpus", "user", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*GuestSpec.model_fields, "junk"]), _junk, max_size=8))
def test_any_guest_is_read_or_every_line_names_its_place(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]
) -> None:
    import json

    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(json.dumps(data))
    reading = read_document(path, GuestSpec)
    assert bool(reading.documents) is not bool(reading.problems)
    for problem in reading.problems:
        assert problem.line >= 1
        assert str(problem).isprintable()
