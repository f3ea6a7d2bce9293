"""The commands that README and docs/ tell people to type, typed. Those that boot guests are run by tests/guest."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation import CHECKOUT, Documented, commands

TRIED_BY_TESTS_WITH_GUESTS = {"run", "test", "bench", "report", "hosts", "lab"}
"""Sub-commands that tests/guest (test_run, test_allure_report), tests/lab (test_lab) and .ci/run call."""
TRIED_WITH_A_SITE_OR_A_FILE = [["images", "pin"], ["images", "supply"], ["images", "import"]]
"""Commands that want a vendor's site or file; tests/unit/images call them (test_pinning, test_cli_images, test_importing)."""

_YAML = re.compile(r"`(lab/[\w./-]+\.yaml)`[^\n]*\n\n```yaml\n(.*?)```", re.DOTALL)


def quick() -> list[Documented]:
    """Documented guestcert commands that need no guest."""
    found = []
    for command in commands():
        words = [word for word in shlex.split(command.text, comments=True) if word != "--no-install"]
        if words[0].endswith("guestcert") and words[1] not in TRIED_BY_TESTS_WITH_GUESTS:
            if words[1:3] in TRIED_WITH_A_SITE_OR_A_FILE:
                continue
            found.append(command)
    return found


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that docs/guests.md and docs/lab.md have the reader write, as they have them written."""
    folder = tmp_path_factory.mktemp("workplace")
    guests, hosts = (_YAML.findall((CHECKOUT / "docs" / page).read_text()) for page in ("guests.md", "lab.md"))
    assert len(guests) >= 2, "docs/guests.md shows a guest and an image file"
    assert len(hosts) == 1, "docs/lab.md shows a file of hosts"
    for name, content in [*guests, *hosts]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("command", quick(), ids=str)
def test_command_does_what_the_page_says(command: Documented, workplace: Path) -> None:
    words = shlex.split(command.text, comments=True)[1:]
    # The launcher is tested by tests/unit/launcher; here the command line is meant.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", *(word for word in words if word != "--no-install")],
        cwd=workplace,
        env={
            **os.environ,
            "GUESTCERT_CACHE_DIR": str(workplace / "cache"),
            "GUESTCERT_RUNTIME_DIR": str(workplace / "rt"),
            "GUESTCERT_QEMU": "machine",  # the other one would be fetched into this cache
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {command.text}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
