"""Bytes between guest and host over a plain TCP connection, with whatever client the guest has."""

from __future__ import annotations

import hashlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 1 << 16


@dataclass(slots=True)
class Exchange:
    """One listening port on the host's loopback: what it will send or what it received.

    `sent_sha256` is of the bytes it sends, `received_sha256` of the bytes it got (None until all of them came).
    """

    port: int
    sent_sha256: str | None = None
    received_sha256: str | None = None
    problem: str | None = None
    done: threading.Event = field(default_factory=threading.Event)


@contextmanager
def sending(size: int, timeout: float) -> Iterator[Exchange]:
    """A port that sends `size` random bytes to the first who connects; `timeout` in seconds. Raises OSError."""
    data = secrets.token_bytes(size)
    with _listening(timeout) as (listener, exchange):
        exchange.sent_sha256 = hashlib.sha256(data).hexdigest()

        def serve(connection: socket.socket) -> None:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            # Hold the connection until the guest has it all: closing with unread input would reset it.
            while connection.recv(_CHUNK):
                pass

        with _served(listener, exchange, timeout, serve):
            yield exchange


@contextmanager
def receiving(size: int, timeout: float) -> Iterator[Exchange]:
    """A port that takes `size` bytes from the first who connects and closes then. Raises OSError."""
    with _listening(timeout) as (listener, exchange):

        def serve(connection: socket.socket) -> None:
            digest, missing = hashlib.sha256(), size
            while missing > 0 and (chunk := connection.recv(min(_CHUNK, missing))):
                digest.update(chunk)
                missing -= len(chunk)
            if missing:
                exchange.problem = f"the connection ended {missing} of {size} bytes too early"
            else:
                exchange.received_sha256 = digest.hexdigest()

        with _served(listener, exchange, timeout, serve):
            yield exchange


# Clients in order of preference: found by `test`, then given the shell words $host and $port. `receive` writes what the
# host sends to standard output, `send` sends standard input. All end when the host closes.
_CLIENTS: tuple[tuple[str, str, str], ...] = (
    ("bash", 'bash -c \'exec 3<>"/dev/tcp/$0/$1"; exec cat <&3\' "$host" "$port"', 'bash -c \'exec 3<>"/dev/tcp/$0/$1"; cat >&3; exec cat <&3 >&2\' "$host" "$port"'),
    ("python3", "python3 -c 'import socket,sys\nconnection=socket.create_connection(sys.argv[1:3])\nwhile chunk:=connection.recv(65536): sys.stdout.buffer.write(chunk)' \"$host\" \"$port\"",
     "python3 -c 'import socket,sys\nconnection=socket.create_connection(sys.argv[1:3])\nconnection.sendall(sys.stdin.buffer.read())\nconnection.recv(1)' \"$host\" \"$port\""),
    ("perl", "perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(PeerAddr=>$ARGV[0],PeerPort=>$ARGV[1]) or die; print while sysread($s,$_,65536)' \"$host\" \"$port\"",
     "perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(PeerAddr=>$ARGV[0],PeerPort=>$ARGV[1]) or die; while(sysread(STDIN,$_,65536)){print $s $_} $s->flush; sysread($s,$_,1)' \"$host\" \"$port\""),
    ("nc", 'nc "$host" "$port" </dev/null', 'nc "$host" "$port"'),
    ("busybox", 'busybox nc "$host" "$port" </dev/null', 'busybox nc "$host" "$port"'),
)  # fmt: skip

NO_CLIENT = 69
"""Exit status of both snippets in a guest without any of the clients (EX_UNAVAILABLE of sysexits.h)."""


def receive_snippet(host: str, port: int) -> str:
    """A shell snippet that takes what `sending` sends and prints its SHA-256."""
    return _client_choice(host, port, [(tool, f"{receive} | sha256sum") for tool, receive, _ in _CLIENTS])


def send_snippet(host: str, port: int, size_mib: int) -> str:
    """A shell snippet that sends `size_mib` MiB of random data to `receiving` and prints their SHA-256.

    The sum is taken of a file in memory (/dev/shm where there is one) that is sent afterwards.
    """
    prepare = (
        "data=$(mktemp /dev/shm/guestcert-XXXXXX 2>/dev/null || mktemp /tmp/guestcert-XXXXXX) || exit 1\n"
        "trap 'rm -f \"$data\"' EXIT\n"
        f'dd if=/dev/urandom of="$data" bs=1048576 count={size_mib} 2>/dev/null && sha256sum < "$data"\n'
    )
    return prepare + _client_choice(host, port, [(tool, f'{send} < "$data" >/dev/null') for tool, _, send in _CLIENTS])


def _client_choice(host: str, port: int, commands: list[tuple[str, str]]) -> str:
    branches = "\nel".join(f"if command -v {tool} >/dev/null 2>&1; then\n{command}" for tool, command in commands)
    return f"host={host}; port={port}\n{branches}\nelse exit {NO_CLIENT}\nfi"


@contextmanager
def _listening(timeout: float) -> Iterator[tuple[socket.socket, Exchange]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(timeout)
        yield listener, Exchange(listener.getsockname()[1])


@contextmanager
def _served(
    listener: socket.socket, exchange: Exchange, timeout: float, serve: Callable[[socket.socket], None]
) -> Iterator[None]:
    def run() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(timeout)
                serve(connection)
        except OSError as error:
            exchange.problem = exchange.problem or f"{type(error).__name__}: {error}"
        finally:
            exchange.done.set()

    thread = threading.Thread(target=run, name="guestcert-exchange", daemon=True)
    thread.start()
    try:
        yield
        exchange.done.wait(timeout)
    finally:
        # Wakes an accept that nobody came for.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
