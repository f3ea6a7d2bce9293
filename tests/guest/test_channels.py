"""All ways into a real guest: SSH, guest agent, serial console, and testinfra over them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fixtures.channels import ssh
from fixtures.channels.agent import AgentRefused
from fixtures.channels.byte_stream import console_socket
from fixtures.channels.console_shell import ConsoleShell
from fixtures.channels.protocol import Channel
from fixtures.channels.ssh import SshChannel
from fixtures.deadline import Deadline
from fixtures.faults import CommandFailed, CommandTimedOut, GuestPanicked, HostFault
from fixtures.guest import Guest, State
from tests.patience import when_passed

MakeGuest = Callable[..., Guest]

SLOW = 900
"""Seconds for anything that boots: the machine may be busy with other guests."""

PATIENT = 120.0
"""Seconds for one command on a machine that may be busy with other guests."""


@pytest.fixture
def guest(make_guest: MakeGuest) -> Guest:
    made = make_guest()
    made.to(State.READY, Deadline.after(SLOW))
    return made


@pytest.fixture
def ssh_channel(guest: Guest) -> Iterator[SshChannel]:
    channel = guest.open_ssh(Deadline.after(PATIENT))
    assert isinstance(channel, SshChannel)
    yield channel
    channel.close()


@pytest.fixture
def console_shell(guest: Guest) -> Iterator[ConsoleShell]:
    stream = console_socket(guest.plumbing.console_socket)
    shell = ConsoleShell.log_in(stream, guest.spec.login.user, None, Deadline.after(PATIENT))
    yield shell
    shell.close()


def test_every_channel_keeps_the_protocol(guest: Guest, ssh_channel: SshChannel, console_shell: ConsoleShell) -> None:
    for channel in (ssh_channel, guest.agent, console_shell, guest.channel):
        keeps_the_protocol(channel)
    assert len({channel.name for channel in (ssh_channel, guest.agent, console_shell)}) == 3


def keeps_the_protocol(channel: Channel) -> None:
    """What every channel into a guest must do."""
    words = ["a b", "it's", '"', "$(id) `id` \\", "line\nline\n", "", "*", "\udcff\udc80", "é漢"]
    done = channel.run(["sh", "-c", 'printf "%s|" "$@"; printf err >&2; exit 7', "sh", *words], timeout=PATIENT)
    assert done.status == 7, channel.name
    assert done.stdout == "".join(f"{word}|" for word in words).encode("utf-8", "surrogateescape"), channel.name
    assert done.stderr == b"err", channel.name
    every = bytes(range(256)) * 8
    assert channel.run(["cat"], timeout=PATIENT, stdin=every).stdout == every, channel.name
    assert channel.run(["no-such-program"], timeout=PATIENT).status == 127, channel.name
    hanging = ["sh", "-c", "trap '' TERM INT HUP; touch /run/begun; sleep 54321"]
    when_passed(
        CommandTimedOut,
        lambda seconds: channel.run(hanging, timeout=3 * seconds),
        lambda _: channel.run(["rm", "/run/begun"], timeout=PATIENT).status == 0,
    )
    assert channel.run(["pgrep", "-f", "[s]leep 54321"], timeout=PATIENT).stdout == b"", channel.name
    data = os.urandom(20_000)
    path = f"/root/by {channel.name}"
    channel.put(data, path, 0o600)
    assert channel.get(path) == data, channel.name
    assert channel.get(path, limit=10) == data[:10], channel.name
    assert channel.run(["stat", "-c", "%a", path], timeout=PATIENT).text == "600\n", channel.name
    with pytest.raises(CommandFailed):
        channel.get("/root/none")


def test_ssh_at_length(guest: Guest, ssh_channel: SshChannel) -> None:
    big = os.urandom(4 << 20)
    ssh_channel.put(big, "/root/big", 0o755)
    assert ssh_channel.get("/root/big") == big
    ssh_channel.output_limit = 1000
    done = ssh_channel.run(["head", "-c", "20000000", "/dev/zero"], timeout=PATIENT)
    assert (done.stdout, done.truncated) == (bytes(1000), True)
    ssh_channel.run(["sh", "-c", "(sleep 2; echo late) & echo now"], timeout=PATIENT)
    assert ssh_channel.run(["sleep", "4"], timeout=PATIENT).stdout == b""
    endpoint = guest._instance.endpoint(Deadline.after(PATIENT))
    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    with pytest.raises(HostFault, match="the host key of"):
        ssh.connect(
            endpoint.address,
            endpoint.port,
            "root",
            private_key=guest.image.ssh_private_key,
            host_public_key=other.decode(),
            deadline=Deadline.after(PATIENT),
        )


def test_the_agents_own_verbs(guest: Guest) -> None:
    agent = guest.agent
    assert 0 < agent.ping(timeout=PATIENT) < PATIENT
    assert agent.os_info()["id"] == "debian"
    assert agent.os_info()["kernel-release"] == guest.check(["uname", "-r"]).strip()
    macs = {interface.mac for interface in agent.interfaces()}
    assert {nic.mac for nic in guest.definition.nics} <= macs
    agent.set_time(time.time() - 7200)
    assert abs(agent.time() - time.time() + 7200) < PATIENT
    agent.set_time()
    assert abs(agent.time() - time.time()) < PATIENT
    assert agent.freeze(timeout=PATIENT) > 0
    try:
        assert agent.frozen()
        with pytest.raises(AgentRefused, match="frozen"):
            agent.command("guest-file-open", {"path": "/etc/hostname"})
    finally:
        assert agent.thaw(timeout=PATIENT) > 0
    assert not agent.frozen()
    done = agent.run(["head", "-c", "12000000", "/dev/zero"], timeout=PATIENT)
    assert (len(done.stdout), done.truncated) == (agent.output_limit, True)
    assert agent.ping(timeout=PATIENT) > 0


def test_testinfra_reads_the_guest(guest: Guest) -> None:
    system = guest.system
    assert system.file("/etc/os-release").contains("ID=debian")
    assert system.service("ssh").is_running
    assert system.service("ssh").is_enabled
    assert not system.service("no-such-service").is_running
    assert system.package("openssh-server").is_installed
    assert not system.package("no-such-package").is_installed
    assert system.user("root").home == "/root"
    assert system.system_info.distribution == "debian"


@pytest.mark.parametrize("way", ["ssh", "main"])
def test_a_panic_fails_a_hanging_command_at_once(guest: Guest, way: str) -> None:
    channel = guest.channel if way == "main" else guest.open_ssh(Deadline.after(PATIENT))
    begun = time.monotonic()
    with pytest.raises(GuestPanicked, match="sysrq triggered crash"):
        channel.run(
            ["sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 1000"], timeout=SLOW
        )
    assert time.monotonic() - begun < SLOW
