"""Bytes over a real TCP connection, with every client that this machine has."""

from __future__ import annotations

import shlex
import shutil
import socket
import sys
from pathlib import Path

import pytest

from suites.network.exchange import NO_CLIENT, receive_snippet, receiving, send_snippet, sending
from suites.reading.batch import run_batch
from tests.unit.suites.local_shell import LocalShell

SIZE = 1 << 20
TOOLS = ("sh", "cat", "dd", "sha256sum", "mktemp", "rm", "printf")


@pytest.fixture
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A PATH on which the client is the only one."""
    name = str(request.param)
    for tool in (*TOOLS, *(() if name == "none" else (name,))):
        program = sys.executable if tool == "python3" else shutil.which(tool)
        if program is None:
            pytest.skip(f"no {tool} on this machine")
        # Not a link: a Python finds its library by the name it is called by.
        (tmp_path / tool).write_text(f'#!/bin/sh\nexec {shlex.quote(program)} "$@"\n')
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return name


@pytest.mark.parametrize("client", ["bash", "python3", "perl", "nc", "busybox"], indirect=True)
def test_both_ways(client: str) -> None:
    with sending(SIZE, 20) as down, receiving(SIZE, 20) as up:
        batch = run_batch(
            LocalShell(),
            {"down": receive_snippet("127.0.0.1", down.port), "up": send_snippet("127.0.0.1", up.port, SIZE >> 20)},
        )
        up.done.wait(20)
        assert batch["down"].word.split()[0] == down.sent_sha256, (client, down.problem, batch.error_text)
        assert batch["up"].word.split()[0] == up.received_sha256, (client, up.problem, batch.error_text)


@pytest.mark.parametrize("client", ["none"], indirect=True)
def test_a_guest_without_any_client_says_so(client: str) -> None:
    batch = run_batch(LocalShell(), {"down": receive_snippet("127.0.0.1", 9), "up": send_snippet("127.0.0.1", 9, 1)})
    assert (batch["down"].status, batch["up"].status) == (NO_CLIENT, NO_CLIENT), client


def test_a_connection_that_ends_early_is_seen() -> None:
    with receiving(SIZE, 20) as up:
        with socket.create_connection(("127.0.0.1", up.port)) as connection:
            connection.sendall(b"x" * 1000)
        assert up.done.wait(20)
        assert up.received_sha256 is None
        assert up.problem == f"the connection ended {SIZE - 1000} of {SIZE} bytes too early"


def test_changed_bytes_have_another_sum() -> None:
    with sending(SIZE, 20) as down, receiving(SIZE, 20) as up:
        with socket.create_connection(("127.0.0.1", down.port)) as source:
            data = bytearray()
            while chunk := source.recv(65536):
                data += chunk
        data[SIZE // 2] ^= 1
        with socket.create_connection(("127.0.0.1", up.port)) as sink:
            sink.sendall(data)
        assert up.done.wait(20)
        assert up.received_sha256 not in {None, down.sent_sha256}
