"""What README and docs/ say, taken apart: links and commands, so that tests can try both."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Documented:
    """Something at `line` of `page` (path below the checkout)."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page a reader is sent to."""
    return [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]


def links() -> list[Documented]:
    """Every Markdown link and picture outside code."""
    found = []
    for page in pages():
        text = page.read_text()
        prose = _FENCE.sub(lambda fence: "\n" * fence.group(0).count("\n"), text)
        found += [_at(page, prose, match.start(1), match.group(1)) for match in _LINK.finditer(prose)]
    return found


def commands() -> list[Documented]:
    """Every line of a shell block that a reader would type; a trailing backslash joins lines, `#` begins a remark."""
    found = []
    for page in pages():
        text = page.read_text()
        for fence in _FENCE.finditer(text):
            if fence.group(1) not in {"sh", "console", "bash", "shell"}:
                continue
            body = fence.group(2).replace("\\\n", "  ")
            offset = fence.start(2)
            for line in body.splitlines(keepends=True):
                typed = line.strip().removeprefix("$ ")
                if shlex.split(typed, comments=True):
                    found.append(_at(page, text, offset, typed))
                offset += len(line)
    return found


def anchors(page: Path) -> set[str]:
    """The heading anchors of a page, as code hosts make them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(page.read_text())
    }


def _at(page: Path, text: str, position: int, what: str) -> Documented:
    return Documented(str(page.relative_to(CHECKOUT)), text.count("\n", 0, position) + 1, what)
