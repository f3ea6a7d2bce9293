"""The configuration for Ignition holds what the harness pins, and only its owner reads it."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

from images import Store
from images.ignition import ignition_file
from tests.unit.images.conftest import MakeEntry


def test_keys_and_name_are_in_it(store: Store, entry_for: MakeEntry, disk: Path, tmp_path: Path) -> None:
    image = store.obtain(entry_for(disk, seed="ignition"))
    assert image.seed == "ignition"
    path = tmp_path / "config.ign"
    ignition_file(path, image, "acme")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["ignition"]["version"] == "3.3.0"
    (user,) = document["passwd"]["users"]
    assert user == {"name": "root", "sshAuthorizedKeys": [image.ssh_public_key]}
    contents = {
        each["path"]: base64.b64decode(each["contents"]["source"].removeprefix("data:;base64,"))
        for each in document["storage"]["files"]
    }
    assert contents["/etc/hostname"] == b"acme\n"
    assert contents["/etc/ssh/ssh_host_ed25519_key"] == image.host_private_key.read_bytes()
