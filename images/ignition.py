"""First-boot configuration for systems that read Ignition instead of cloud-init: Fedora CoreOS, Flatcar, openSUSE MicroOS.

Specification 3.3.0 (coreos.github.io/ignition/configuration-v3_3), which all of them have read since 2021.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from images.faults import ImageFault
from images.image import Image


def ignition_file(path: Path, image: Image, hostname: str) -> None:
    """Write the configuration at `path`, atomically: hostname, root login by our key, our host key as the guest's own.

    QEMU hands it over as `opt/com.coreos/config` (Flatcar also reads `opt/org.flatcar-linux/config`) of its firmware
    configuration. It holds a private key, so only its owner may read it. Raises ImageFault.
    """
    host_key = image.host_private_key.read_bytes()
    sshd = "PermitRootLogin prohibit-password\nHostKey /etc/ssh/ssh_host_ed25519_key\n"
    files = [
        _file("/etc/hostname", f"{hostname}\n".encode(), 0o644),
        _file("/etc/ssh/ssh_host_ed25519_key", host_key, 0o600),
        _file("/etc/ssh/ssh_host_ed25519_key.pub", f"{image.host_public_key}\n".encode(), 0o644),
        _file("/etc/ssh/sshd_config.d/10-guestcert.conf", sshd.encode(), 0o600),
    ]
    document = {
        "ignition": {"version": "3.3.0"},
        "passwd": {"users": [{"name": "root", "sshAuthorizedKeys": [image.ssh_public_key]}]},
        "storage": {"files": files},
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(document, indent=1), encoding="ascii")
        partial.replace(path)
    except OSError as error:
        raise ImageFault(f"{path}: cannot write the seed: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _file(path: str, content: bytes, mode: int) -> dict[str, object]:
    source = f"data:;base64,{base64.b64encode(content).decode('ascii')}"
    return {"path": path, "mode": mode, "overwrite": True, "contents": {"source": source}}
