"""Measuring tools inside the guest, and the other end of a network measurement on the host."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fixtures.deadline import Deadline
from fixtures.faults import CommandFailed, HostFault
from suites.reading.batch import Runner

_NO_TOOL = 69  # EX_UNAVAILABLE of sysexits.h


def run_tool(guest: Runner, tool: str, *arguments: str, timeout: float) -> str:
    """Standard output of a tool in the guest, `timeout` in seconds.

    Skips the probe where the guest has no such tool. Raises CommandFailed when it exits with anything but 0.
    """
    completed = guest.run(
        ("sh", "-c", f'command -v "$0" >/dev/null 2>&1 || exit {_NO_TOOL}; exec "$0" "$@"', tool, *arguments),
        timeout=timeout,
    )
    if completed.status == _NO_TOOL:
        pytest.skip(f"the guest has no {tool}")
    if completed.status != 0:
        said = (completed.error_text.strip() or completed.text.strip())[-500:]
        raise CommandFailed(
            f"{tool} {' '.join(arguments)}: expected status 0, got {completed.status}: {said or 'no message'}"
        )
    return completed.text


@contextmanager
def iperf3_server(deadline: Deadline) -> Iterator[int]:
    """An iperf3 server on the host's loopback for one measurement; yields its port.

    Skips the probe where the host has no iperf3. Raises HostFault when the server does not come up.
    """
    program = shutil.which("iperf3")
    if program is None:
        pytest.skip("this machine has no iperf3")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # One measurement, and an end by itself should this process die before it comes.
    command = [program, "--server", "--one-off", "--idle-timeout", f"{max(1, round(deadline.remaining()))}"]
    command += ["--bind", "127.0.0.1", "--port", str(port), "--forceflush"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            said = ""
            for line in server.stdout:
                said += line
                if "Server listening" in line:
                    break
            else:
                raise HostFault(f"iperf3 server on port {port} did not start: {said.strip()[-300:]}")
            yield port
        finally:
            server.kill()
