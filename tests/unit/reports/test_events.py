"""The event log: what is written is what is read, and what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures.observation import Direction
from reports.event_log import NAME, EventWriter, UnreadableRun, read_events
from reports.events import (
    EVENT,
    AttachmentRecord,
    Event,
    HostMeasured,
    MetricRecord,
    ProbeFinished,
    ProfileRecord,
    RunStarted,
    StepRecord,
)
from reports.hostile_text import clean, one_line, without_secrets
from reports.verdict import Verdict

ANY_TEXT = st.text(st.characters(codec=None), max_size=80)  # surrogates and control characters included
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
FACTS = st.dictionaries(
    ANY_TEXT, st.none() | st.booleans() | st.integers(-(2**63), 2**63) | NUMBERS | ANY_TEXT, max_size=4
)

FINISHED = st.builds(
    ProbeFinished,
    at=NUMBERS,
    node=ANY_TEXT,
    cell=st.none() | ANY_TEXT,
    probe=ANY_TEXT,
    worker=ANY_TEXT,
    verdict=st.sampled_from(Verdict),
    reason=st.none() | ANY_TEXT,
    detail=st.none() | ANY_TEXT,
    started=NUMBERS,
    duration=NUMBERS,
    phases=st.dictionaries(st.sampled_from(["setup", "call", "teardown"]), NUMBERS),
    metrics=st.tuples(
        st.builds(MetricRecord, name=ANY_TEXT, value=NUMBERS, unit=ANY_TEXT, direction=st.sampled_from(Direction))
    ),
    attachments=st.tuples(
        st.builds(AttachmentRecord, name=ANY_TEXT, path=ANY_TEXT, mime=ANY_TEXT, size=st.integers(0))
    ),
    facts=FACTS,
    steps=st.tuples(
        st.builds(
            StepRecord, title=ANY_TEXT, depth=st.integers(0, 9), started=NUMBERS, duration=NUMBERS, error=ANY_TEXT
        )
    ),
    description=ANY_TEXT,
)
STARTED = RunStarted(
    at=1.0,
    run_id="r",
    versions={},
    command=(),
    profile=ProfileRecord(id="p", required=("boot/a",)),
    plan_digest="sha256:0",
)


@settings(deadline=None)  # how long it takes says nothing on a busy machine
@given(FINISHED)
def test_an_event_survives_its_line(event: ProbeFinished) -> None:
    line = event.model_dump_json()
    assert "\n" not in line
    line.encode()
    assert EVENT.validate_json(line) == event


@settings(deadline=None)  # how long it takes says nothing on a busy machine
@given(FACTS)
def test_facts_keep_their_types(facts: dict[str, object]) -> None:
    event = HostMeasured(at=0, host="h", uri="u", capabilities=facts)
    again = HostMeasured.model_validate_json(event.model_dump_json()).capabilities
    assert [(value, type(value)) for value in again.values()] == [
        (value, type(value)) for value in event.capabilities.values()
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_is_a_number(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        MetricRecord(name="m", value=value, unit="s", direction=Direction.LOWER)


@settings(deadline=None)  # how long it takes says nothing on a busy machine
@given(st.text(st.characters(codec=None)), st.integers(10, 60))
@example("0\n000000000", 10)  # cut behind white space
def test_cleaning_is_bounded_safe_and_idempotent(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert clean(cleaned, limit) == cleaned
    cleaned.encode()
    assert not any((ord(mark) < 32 and mark not in "\n\t") or 0x7F <= ord(mark) < 0xA0 for mark in cleaned)
    line = one_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert one_line(line, limit) == line


def test_terminal_commands_vanish_and_controls_show() -> None:
    assert clean("a\x1b[31mred\x1b[0m \x1b]0;title\x07b\x00c\x9b31m\r\nd") == "ared b\ufffdc\ufffd31m\nd"
    assert clean(b"\xff\xfe") == "\ufffd\ufffd"


def test_secrets_are_not_recorded() -> None:
    arguments = [
        "run",
        "--password",
        "hunter2",
        "--api-token=abc",
        "DB_PASSWORD=x",
        "qemu+ssh://me:pw@host/system",
        "-k",
        "boot",
    ]
    assert without_secrets(arguments) == (
        "run",
        "--password",
        "***",
        "--api-token=***",
        "DB_PASSWORD=***",
        "qemu+ssh://me:***@host/system",
        "-k",
        "boot",
    )


def write(folder: Path, *events: Event) -> Path:
    with EventWriter(folder) as writer:
        for event in events:
            writer.write(event)
    return folder / NAME


def test_a_torn_last_line_is_forgiven(tmp_path: Path) -> None:
    host = HostMeasured(at=2, host="h", uri="u", capabilities={"cpus": 2})
    path = write(tmp_path, STARTED, host)
    path.write_bytes(path.read_bytes() + b'{"event": "probe_fini')
    assert read_events(tmp_path) == (STARTED, host)


def test_every_event_is_on_disk_before_the_next(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.write(STARTED)
    assert read_events(tmp_path) == (STARTED,)
    writer.close()


def test_unknown_kinds_and_fields_of_a_later_writer_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, STARTED)
    later = STARTED.model_dump_json()[:-1] + ',"new_field": 1}\n{"event": "probe_dreamt", "at": 3}\n'
    path.write_text(later)
    assert read_events(tmp_path) == (STARTED,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no complete event"),
        ("garbage\n", ":1: not JSON"),
        ("[1]\n", ":1: expected a JSON object"),
        ('{"event": "probe_started"}\n', ":1: "),
        (
            STARTED.model_dump_json().replace('"schema_version":1', '"schema_version":2') + "\n",
            "events of schema 2; this guestcert reads schema 1",
        ),
        (STARTED.model_dump_json() + '\n{"event": "host_measured", "at": "yesterday"}\n', ":2: host_measured.at"),
    ],
)
def test_damage_is_named_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(UnreadableRun) as caught:
        read_events(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_runs_never_share_a_log(tmp_path: Path) -> None:
    write(tmp_path, STARTED)
    with pytest.raises(FileExistsError):
        EventWriter(tmp_path)
