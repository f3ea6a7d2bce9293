"""What an installer says on its console: kept in a file of bounded size, and told on in lines that people can read."""

from __future__ import annotations

import re
from collections import deque
from typing import BinaryIO

# Of CSI sequences, other escapes, and control characters that are no line break (ECMA-48).
_CONTROL = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-Za-z]|\x1b.|[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]|\x08")
_LONGEST_LINE = 4096


class InstallerConsole:
    """Takes the bytes of a console. `log` gets the first `limit` of them and, at the end, the last lines."""

    def __init__(self, log: BinaryIO, limit: int = 8 * 1024**2) -> None:
        self._log = log
        self._left = limit
        self._unfinished = b""
        self._last: deque[str] = deque(maxlen=50)
        self.left_out = 0

    def take(self, data: bytes) -> None:
        """Keep `data`."""
        self._log.write(data[: self._left])
        self.left_out += len(data) - min(len(data), self._left)
        self._left = max(0, self._left - len(data))
        *finished, rest = re.split(rb"[\r\n]+", self._unfinished + data)
        self._unfinished = rest[-_LONGEST_LINE:]
        self._last.extend(text for line in finished if (text := _readable(line)))

    @property
    def end(self) -> str:
        """The last line with something in it, finished or not: where a question stands that waits."""
        return "".join(self.last_lines(1))

    def last_lines(self, count: int) -> list[str]:
        """The last lines with something in them, an unfinished one too."""
        unfinished = _readable(self._unfinished)
        return [*self._last, *([unfinished] if unfinished else [])][-count:]

    def close(self) -> None:
        """Write the last lines to the log if there was no room for them."""
        if self.left_out:
            text = "\n".join(self.last_lines(50))
            self._log.write(f"\n[{self.left_out} bytes in all left out; the last lines:]\n{text}\n".encode())


def _readable(line: bytes) -> str:
    text = _CONTROL.sub(b"", line[-_LONGEST_LINE:]).decode("utf-8", "replace")
    return " ".join("".join(letter for letter in text if letter.isprintable()).split())[:200]
