"""Two processes that need the same checkpoint at the same time: one of them boots, both have it."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

MAKER = """
import datetime, json, sys
from pathlib import Path
from fixtures.checkpoint import CheckpointStore
from fixtures.deadline import Deadline
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import HostSpec, Selection
from matrix.places import cache_dir

name, checkpoints, folder = sys.argv[1:]
(cell,) = expand(load(), Selection(cell=("minimal+qemu-tcg+none",)), today=datetime.date.today())
store = Store(cache_dir())
image = store.obtain(load_catalogue()["minimal"])
with Host.open(HostSpec(id="local", uri="qemu:///embed")) as host:
    print("at the start", flush=True)
    sys.stdin.readline()
    with Guest(cell, host, image, Path(folder), checkpoints=CheckpointStore(Path(checkpoints)), run_id=name) as guest:
        guest.to(State.READY, Deadline.after(600))
        answer = guest.check(["echo", name]).strip()
        print(json.dumps([answer, guest.origin, guest.checkpoint_run, list(guest.notes)]), flush=True)
store.close()
"""


def test_one_boots_and_both_have_it(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    with ExitStack() as stack:
        makers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", MAKER, name, str(checkpoints), str(tmp_path / name)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for name in ("one", "other")
        ]
        for maker in makers:
            assert maker.stdout is not None
            assert maker.stdout.readline() == "at the start\n"
        for maker in makers:
            assert maker.stdin is not None
            maker.stdin.write("go\n")
            maker.stdin.flush()
        said = [json.loads(maker.communicate(timeout=900)[0]) for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0]
    assert [answer for answer, *_ in said] == ["one", "other"]
    assert [notes for *_, notes in said] == [[], []]
    ((booted_by, *_),) = [row for row in said if row[1] == "cold"]
    ((_, _, restored_from, _),) = [row for row in said if row[1] == "checkpoint"]
    assert restored_from == booted_by
    assert len(list(checkpoints.glob("*/checkpoint.json"))) == 1
