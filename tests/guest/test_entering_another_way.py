"""A real guest without a network: its agent lets the harness in, and what is saved is restored that way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fixtures.checkpoint import CheckpointStore
from fixtures.deadline import Deadline
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Image
from matrix.model import Cell

PATIENT = 100.0
"""Half of it is spent on knocking at SSH before the agent is asked; a boot takes 10 to 40 s."""


def test_without_a_network_the_agent_is_the_way_in(
    cell: Cell, host: Host, image: Image, checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    line = (*cell.guest.kernel_command_line, "module_blacklist=virtio_net")
    deaf = replace(cell, guest=cell.guest.model_copy(update={"kernel_command_line": line}))
    with Guest(deaf, host, image, tmp_path / "first", checkpoints=checkpoints, run_id="tests") as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        facts = guest.facts()
        assert facts["entered_by"] == "agent"
        assert "entered by agent instead: ssh: " in str(facts["notes"])
        assert guest.check(["id", "-un"]) == "root\n"
        # What the shell behind the ports cannot do goes over the agent as well.
        done = guest.run(["wc", "-c"], stdin=b"x" * 300_000)
        assert done.text == "300000\n", done
        before = guest.boot_id()
    with Guest(deaf, host, image, tmp_path / "second", checkpoints=checkpoints, run_id="tests") as guest:
        guest.to(State.READY, Deadline.after(PATIENT))
        assert guest.origin == "checkpoint"
        assert guest.facts()["entered_by"] == "agent"
        assert guest.boot_id() == before
        assert guest.run(["wc", "-c"], stdin=b"x" * 300_000).text == "300000\n"
