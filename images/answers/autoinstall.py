"""Answers for Subiquity, the installer of Ubuntu Server (autoinstall reference). Never run here."""

from __future__ import annotations

import yaml

from images.answers.given import Wishes


def user_data(wishes: Wishes, finish: str, kernel_arguments: tuple[str, ...]) -> bytes:
    """The cloud-config that carries the answers; `finish` is the script that is run last, outside the new system."""
    answers: dict[str, object] = {
        "version": 1,
        "locale": "C.UTF-8",
        "keyboard": {"layout": "us"},
        "timezone": "Etc/UTC",
        "network": {"version": 2, "ethernets": {"all": {"match": {"name": "e*"}, "dhcp4": True}}},
        "storage": {"layout": {"name": "direct", "match": {"path": wishes.disk}}},
        "ssh": {"install-server": True, "allow-pw": False},
        "packages": list(wishes.packages),
        "updates": "security",
        # In place of `identity`, which makes a user with a password: nobody but root, who has a key.
        "user-data": {"disable_root": False, "users": []},
        "late-commands": [
            ["sh", "-c", 'printf "%s\\n" "$1" >/target/etc/hostname', "sh", wishes.hostname],
            ["sh", "-c", _KERNEL_ARGUMENTS, "sh", " ".join(kernel_arguments)],
            ["curtin", "in-target", "--", "update-grub"],
            # What it was to do at first boot is done here, and it costs every boot seconds.
            ["touch", "/target/etc/cloud/cloud-init.disabled"],
            ["sh", "-c", str(finish)],
        ],
        "shutdown": "poweroff",
    }
    if wishes.mirror is not None:
        answers["apt"] = {"mirror-selection": {"primary": [{"uri": wishes.mirror}]}, "fallback": "abort"}
    if wishes.proxy is not None:
        answers["proxy"] = wishes.proxy
    text = yaml.safe_dump({"autoinstall": answers}, sort_keys=False, allow_unicode=True, width=10_000)
    return f"#cloud-config\n{text}".encode()


_KERNEL_ARGUMENTS = (
    "mkdir -p /target/etc/default/grub.d && "
    'printf \'GRUB_CMDLINE_LINUX="%s"\\n\' "$1" >/target/etc/default/grub.d/10-guestcert.cfg'
)
