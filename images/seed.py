"""First-boot seed for ready images that have cloud-init: a NoCloud ISO with the cache's keys in it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from images.command import run
from images.faults import ImageFault
from images.image import Image


def nocloud_iso(path: Path, image: Image, hostname: str, instance_id: str, packages: Sequence[str] = ()) -> None:
    """Write the ISO at `path`, atomically: hostname, root login by our key, our host key as the guest's only one.

    `instance_id` must change when the seed should be applied anew. `packages` are installed by the guest itself.
    The ISO holds a private key, so only its owner may read it. Raises ImageFault.
    """
    host_key = image.host_private_key.read_text(encoding="ascii")
    user_data = {
        "hostname": hostname,
        "preserve_hostname": False,
        "disable_root": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": ["ed25519"],
        "ssh_keys": {"ed25519_private": host_key, "ed25519_public": image.host_public_key},
        "ssh_authorized_keys": [image.ssh_public_key],
        "users": [{"name": "root", "ssh_authorized_keys": [image.ssh_public_key]}],
        # An empty list is none by cloud-init's schema, of which it warns on the console.
        **({"package_update": True, "packages": list(packages)} if packages else {}),
        "growpart": {"mode": "auto"},
    }
    meta_data = {"instance-id": instance_id, "local-hostname": hostname}
    network = {"version": 2, "ethernets": {"all": {"match": {"name": "e*"}, "dhcp4": True}}}
    try:
        with tempfile.TemporaryDirectory(prefix=".seed-", dir=path.parent) as folder:
            files = Path(folder) / "files"
            files.mkdir()
            (files / "user-data").write_text("#cloud-config\n" + _yaml(user_data), encoding="utf-8")
            (files / "meta-data").write_text(_yaml(meta_data), encoding="utf-8")
            (files / "network-config").write_text(_yaml(network), encoding="utf-8")
            iso = Path(folder) / "seed.iso"
            # cloud-init finds the seed by this volume label.
            run(
                [
                    "xorriso",
                    "-as",
                    "mkisofs",
                    "-quiet",
                    "-volid",
                    "CIDATA",
                    "-joliet",
                    "-rational-rock",
                    "-o",
                    str(iso),
                    str(files),
                ]
            )
            iso.chmod(0o600)
            iso.replace(path)
    except OSError as error:
        raise ImageFault(f"{path}: cannot write the seed: {error.strerror or error}") from error


def _yaml(data: object) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000)
