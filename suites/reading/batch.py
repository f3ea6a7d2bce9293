"""Many readings of a guest in one round trip, with nothing but a POSIX shell inside."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fixtures.channels.protocol import Completed
from fixtures.faults import CommandFailed


class Runner(Protocol):
    """Something that runs commands in a guest: a Guest or a Channel."""

    def run(self, argv: Sequence[str], timeout: float = 30.0, stdin: bytes = b"") -> Completed:
        """Run `argv` in the guest."""
        ...


@dataclass(frozen=True, slots=True)
class Section:
    """What one snippet of a batch did: exit status and standard output."""

    status: int
    stdout: bytes

    @property
    def text(self) -> str:
        """Standard output as UTF-8 (bad bytes replaced)."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def word(self) -> str:
        """Standard output without the white space around it."""
        return self.text.strip()


@dataclass(frozen=True, slots=True)
class Batch:
    """Sections by the names they were asked under, and what all of them wrote to standard error."""

    sections: Mapping[str, Section]
    error_text: str

    def __getitem__(self, name: str) -> Section:
        return self.sections[name]


def run_batch(guest: Runner, snippets: Mapping[str, str], timeout: float = 30.0, prelude: str = "") -> Batch:
    """Run each POSIX shell snippet in a subshell of its own, all in one round trip; `timeout` in seconds for all.

    `prelude` runs once before them: its variables and functions are there in every snippet.

    A snippet that fails leaves its exit status in its section and does not stop the others.
    Raises CommandFailed when the batch itself did not get to its end.
    """
    token = f"--guestcert-{secrets.token_hex(8)}"
    completed = guest.run(("sh", "-c", f"{prelude}\n{batch_script(snippets, token)}"), timeout=timeout)
    sections = split_batch(completed.stdout, token)
    missing = [name for name in snippets if name not in sections]
    if missing or completed.truncated:
        raise CommandFailed(
            f"reading {', '.join(missing or snippets)} in the guest: expected all sections, the shell ended with status "
            f"{completed.status}{' and its output was cut' if completed.truncated else ''}: "
            f"{completed.error_text.strip()[-500:] or 'no message'}"
        )
    return Batch(sections, completed.error_text)


def read_files(guest: Runner, *patterns: str, timeout: float = 30.0) -> dict[str, str]:
    """Contents of every file that matches one of the shell `patterns`, by path; what cannot be read is left out.

    One fork in the guest for all of them. A file without any line is left out too. Paths hold no white space
    (those of /proc and /sys do not).
    """
    completed = guest.run(("sh", "-c", files_snippet(*patterns)), timeout=timeout)
    return parse_files(completed.text, *patterns)


def files_snippet(*patterns: str) -> str:
    """The shell snippet whose output `parse_files` understands."""
    # /dev/null is there so that grep has a file to read when no pattern matches; -s keeps unreadable ones quiet.
    return f"grep -asH '' /dev/null {' '.join(patterns)} || :"


def parse_files(text: str, *patterns: str) -> dict[str, str]:
    """Contents by path from lines of `path:line`, as grep prints them; every path matches one of the `patterns`.

    A path may hold a colon (PCI addresses do) where the pattern ends in a literal name.
    """
    prefix = re.compile("(" + "|".join(_pattern_to_regex(pattern) for pattern in patterns) + "):(.*)", re.DOTALL)
    lines: dict[str, list[str]] = {}
    for line in text.split("\n"):
        match = prefix.fullmatch(line)
        if match:
            lines.setdefault(match[1], []).append(match[2])
    return {path: "\n".join(content) for path, content in lines.items()}


def batch_script(snippets: Mapping[str, str], token: str) -> str:
    """The shell script that runs `snippets` and marks where the output of each begins and ends with `token`."""
    # A snippet's output may lack its last newline, so an end marker brings one along; split_batch takes it off again.
    return "\n".join(
        f"printf '%s\\n' '{token} {name}'\n(\n{snippet}\n)\nprintf '\\n%s\\n' '{token} = '$?"
        for name, snippet in snippets.items()
    )


def split_batch(output: bytes, token: str) -> dict[str, Section]:
    """The sections in the output of `batch_script`; one whose end is missing is left out."""
    sections: dict[str, Section] = {}
    marker = re.escape(token.encode())
    for match in re.finditer(marker + rb" (\S+)\n(.*?)\n" + marker + rb" = (\d+)\n", output, re.DOTALL):
        sections[match[1].decode()] = Section(int(match[3]), match[2])
    return sections


def _pattern_to_regex(pattern: str) -> str:
    # Only the wildcards that this room's patterns use; `*` in a shell does not cross a slash.
    return "".join("[^/]*" if char == "*" else "[^/]" if char == "?" else re.escape(char) for char in pattern)
