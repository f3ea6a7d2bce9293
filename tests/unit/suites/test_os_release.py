"""os-release as vendors write it."""

from __future__ import annotations

from suites.reading.os_release import parse_os_release


def test_quotes_comments_and_nonsense() -> None:
    text = (
        'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
        "ID=debian\n# ID=no\n"
        "VERSION_ID='12'\n"
        'BROKEN="no end\n'
        'TRICK="a\\$b \\"c\\""\n'
        "not an assignment\nEMPTY=\n"
    )
    assert parse_os_release(text) == {
        "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)",
        "ID": "debian",
        "VERSION_ID": "12",
        "TRICK": 'a$b "c"',
        "EMPTY": "",
    }
