"""Answers for YaST, the installer of SLES 12 and 15 and openSUSE Leap 15 (AutoYaST guide). Never run here.

SLES 16 and Leap 16 have another installer, Agama.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from images.answers.given import Wishes

_PROFILE = "http://www.suse.com/1.0/yast2ns"
_CONFIG = "http://www.suse.com/1.0/configns"
_TYPE = f"{{{_CONFIG}}}type"


@dataclass(frozen=True)
class Symbol:
    """One of the words that YaST itself has for something."""

    name: str


Value = str | bool | int | Symbol | dict[str, "Value"] | list[tuple[str, "Value"]]
"""A list's items each have their own element's name."""


def profile(wishes: Wishes, finish: str, kernel_arguments: tuple[str, ...]) -> bytes:
    """The control file; `finish` is the script that is run last, inside the new system."""
    software: dict[str, Value] = {
        "install_recommended": False,
        "patterns": [("pattern", "base")],
        "packages": [("package", name) for name in wishes.packages],
    }
    if wishes.product is not None:
        software = {"products": [("product", wishes.product)], **software}
    root: dict[str, Value] = {
        # `halt` is the end of the first stage, and there is no second one.
        "general": {"mode": {"confirm": False, "second_stage": False, "halt": True}},
        "report": {
            kind: {"log": True, "show": False, "timeout": 0} for kind in ("messages", "warnings", "yesno_messages")
        },
        "bootloader": {
            "global": {
                "append": " ".join(kernel_arguments),
                "terminal": "serial console",
                "serial": "serial --unit=0 --speed=115200",
                "timeout": 1,
            }
        },
        "partitioning": [
            (
                "drive",
                {
                    "device": wishes.disk,
                    "initialize": True,
                    # BIOS boots from it without a partition for its loader.
                    "disklabel": "msdos",
                    "use": "all",
                    "partitions": [
                        (
                            "partition",
                            {"create": True, "format": True, "mount": "/", "filesystem": Symbol("ext4"), "size": "max"},
                        )
                    ],
                },
            )
        ],
        "networking": {
            "dns": {"hostname": wishes.hostname},
            "interfaces": [("interface", {"name": "eth0", "bootproto": "dhcp", "startmode": "auto"})],
            "keep_install_network": False,
        },
        "firewall": {"enable_firewall": False, "start_firewall": False},
        "services-manager": {"default_target": "multi-user", "services": {"enable": [("service", "sshd")]}},
        "software": software,
        "timezone": {"hwclock": "UTC", "timezone": "Etc/UTC"},
        # A crypted password that no password gives: only the key logs in.
        "users": [("user", {"username": "root", "uid": "0", "encrypted": True, "user_password": "!"})],
        "scripts": {
            "chroot-scripts": [
                ("script", {"filename": "guestcert.sh", "interpreter": "shell", "chrooted": True, "source": finish})
            ]
        },
    }
    tree = etree.Element(f"{{{_PROFILE}}}profile", nsmap={None: _PROFILE, "config": _CONFIG})  # type: ignore[dict-item]  # None: the default
    _fill(tree, root)
    return etree.tostring(tree, xml_declaration=True, encoding="UTF-8", pretty_print=True, doctype="<!DOCTYPE profile>")


def _fill(parent: etree._Element, value: Value) -> None:
    if isinstance(value, bool):
        parent.set(_TYPE, "boolean")
        parent.text = "true" if value else "false"
    elif isinstance(value, int):
        parent.set(_TYPE, "integer")
        parent.text = str(value)
    elif isinstance(value, Symbol):
        parent.set(_TYPE, "symbol")
        parent.text = value.name
    elif isinstance(value, str):
        parent.text = value
    elif isinstance(value, dict):
        for name, below in value.items():
            _fill(etree.SubElement(parent, f"{{{_PROFILE}}}{name}"), below)
    else:
        parent.set(_TYPE, "list")
        for name, below in value:
            _fill(etree.SubElement(parent, f"{{{_PROFILE}}}{name}"), below)
