"""README and docs/ must not lead anybody astray: links lead somewhere, commands are ones the command line knows."""

from __future__ import annotations

import importlib
import shlex

import pytest
import typer.main

from tests.documentation import CHECKOUT, Documented, anchors, commands, links

KNOWN_PROGRAMS = {"./guestcert", "guestcert", "git", "cd", "tox", "pytest", "sudo", "export"}


@pytest.mark.parametrize("link", links(), ids=str)
def test_link_leads_somewhere(link: Documented) -> None:
    target, _, anchor = link.text.partition("#")
    if "://" in target:
        assert target.startswith("https://"), f"{link}: {target} is not https"
        return
    page = (CHECKOUT / link.page).parent / target if target else CHECKOUT / link.page
    assert page.exists(), f"{link}: {target} does not exist"
    if anchor:
        assert anchor in anchors(page), f"{link}: {target or link.page} has no heading #{anchor}"


@pytest.mark.parametrize("command", commands(), ids=str)
def test_command_is_one_the_command_line_knows(command: Documented) -> None:
    words = shlex.split(command.text, comments=True)
    while "=" in words[0] and not words[0].startswith("-"):
        words.pop(0)
    assert words[0] in KNOWN_PROGRAMS, f"{command}: {words[0]} is none of {sorted(KNOWN_PROGRAMS)}"
    if words[0].endswith("guestcert"):
        _parse([word for word in words[1:] if word != "--no-install"], command)


def _parse(words: list[str], command: Documented) -> None:
    from cli.main import COMMANDS

    if words[0] == "version":
        return
    assert words[0] in COMMANDS, f"{command}: guestcert has no command {words[0]}"
    module = importlib.import_module(COMMANDS[words[0]].module)
    if not hasattr(module, "app"):
        return  # takes pytest's options; tests/guest runs it
    current = typer.main.get_command(module.app)
    words = words[1:]
    while hasattr(current, "commands"):
        assert words, f"{command}: no command given"
        assert words[0] in current.commands, f"{command}: guestcert has no command {words[0]}"
        current, words = current.commands[words[0]], words[1:]
    with current.make_context(current.name, words):
        pass
