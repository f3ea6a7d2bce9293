"""Real small disks, a cache of its own and an HTTP server on the loopback that can be told to misbehave."""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from images import Store, UrlEntry

MakeEntry = Callable[..., UrlEntry]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A valid qcow2 disk of 16 MiB with 3 MiB of content."""
    raw, path = tmp_path / "content.raw", tmp_path / "small.qcow2"
    raw.write_bytes(bytes(range(256)) * 4 * 1024 * 3)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    subprocess.run(["qemu-img", "resize", "-q", path, "16M"], check=True)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The folder of an empty cache."""
    return tmp_path / "cache"


@pytest.fixture
def store(cache: Path) -> Iterator[Store]:
    """An open store on the empty cache."""
    opened = Store(cache)
    yield opened
    opened.close()


@pytest.fixture
def entry_for() -> MakeEntry:
    """Makes the catalogue entry that names a file by its true sha256; keywords override fields."""

    def make(path: Path, **fields: object) -> UrlEntry:
        described: dict[str, object] = {
            "kind": "url",
            "id": "small",
            "name": "A small disk",
            "origin": "a test",
            "url": str(path),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        return UrlEntry.model_validate(described | fields)

    return make


class MisbehavingServer:
    """Serves one body; `fault` names what goes wrong, `requests` what was asked (the Range header or "")."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.fault = ""
        self.requests: list[str] = []
        self._over = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/disk.qcow2"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one GET as `fault` says."""
        asked = request.headers.get("Range", "")
        self.requests.append(asked)
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        start = int(match[1]) if match and self.fault != "no ranges" else 0
        body = self.body[start:]
        if self.fault.startswith("redirect "):
            request.send_response(302)
            request.send_header("Location", self.fault.removeprefix("redirect ").replace("loop", self.url))
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if self.fault == "missing":
            request.send_error(404)
            return
        if self.fault == "no range at all" or (match and start >= len(self.body)):
            request.send_error(416)
            return
        if self.fault == "dribbles its header":
            self._dribble(request, b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 100_000)
            return
        request.send_response(206 if start else 200)
        if start:
            claimed = 0 if self.fault == "another range" else start
            request.send_header("Content-Range", f"bytes {claimed}-{len(self.body) - 1}/{len(self.body)}")
        length = len(body) + {"announces more": 4096, "announces less": -4096, "absurd length": 1 << 50}.get(
            self.fault, 0
        )
        request.send_header("Content-Length", str(length))
        request.end_headers()
        if self.fault == "dribbles":
            self._dribble(request, body)
            return
        cut_short = self.fault == "truncates" or (
            self.fault in {"truncates once", "no ranges"} and len(self.requests) == 1
        )
        request.wfile.write(body[: len(body) // 2] if cut_short else body)
        request.close_connection = True

    def _dribble(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        for byte in data:
            try:
                request.wfile.write(bytes([byte]))
            except OSError:
                return
            if self._over.wait(0.01):
                return

    def close(self) -> None:
        """Stop serving."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(disk: Path) -> Iterator[MisbehavingServer]:
    """An HTTP server on the loopback that serves `disk`."""
    running = MisbehavingServer(disk.read_bytes())
    yield running
    running.close()
