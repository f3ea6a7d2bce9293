"""What BSDs say about devices, parsed. Their drivers have names of their own; Linux's of the same device stands beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from suites.reading.sysfs import BlockDevice, NetworkInterface

# Manual pages vtnet(4), vioif(4), vio(4), em(4), wm(4), re(4), rl(4): the beginning of an interface's name is its driver's.
_CARDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vtnet": ("virtio_net",),
        "vioif": ("virtio_net",),
        "vio": ("virtio_net",),
        "em": ("e1000e", "e1000"),
        "wm": ("e1000e", "e1000"),
        "re": ("8139cp",),
        "rl": ("8139cp",),
        "xn": ("xen_netfront",),
    }
)
_DISKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"vtbd": ("virtio_blk",), "ada": ("ahci",), "nda": ("nvme",), "nvd": ("nvme",), "xbd": ("xen_blkfront",)}
)


def parse_ifconfig(text: str) -> list[NetworkInterface]:
    """`ifconfig -a` of FreeBSD ("ether MAC"), NetBSD ("address: MAC") and OpenBSD ("lladdr MAC"); those without are left out.

    `carrier` is None for one that is down. NetBSD shows "status:" only where the driver knows the link.
    """
    interfaces = []
    for block in re.split(r"^(?=[A-Za-z])", text, flags=re.MULTILINE):
        head = re.match(r"(([a-z]+)\d+): flags=\w+<([^>]*)>", block)
        mac = re.search(r"^\s+(?:ether|address:|lladdr) ((?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})$", block, re.MULTILINE)
        if head is None or mac is None:
            continue
        status = re.search(r"^\s+status: (.*)$", block, re.MULTILINE)
        up = "UP" in head[3].split(",")
        carrier = (status is None or status[1] == "active") if up else None
        drivers = (head[2], *_CARDS.get(head[2], ()))
        interfaces.append(NetworkInterface(head[1], mac[1].lower(), carrier, drivers, {}))
    return interfaces


def parse_geom_disks(text: str) -> list[BlockDevice]:
    """`geom disk list` of FreeBSD: of each disk its name, "Mediasize: BYTES (...)" and "ident: SERIAL"."""
    devices = []
    for block in re.split(r"^(?=Geom name: )", text, flags=re.MULTILINE):
        name = re.match(r"Geom name: (([a-z]+)\d+)$", block, re.MULTILINE)
        size = re.search(r"^\s+Mediasize: (\d+) ", block, re.MULTILINE)
        if name is None or size is None:
            continue
        ident = re.search(r"^\s+ident: (\S+)$", block, re.MULTILINE)
        serial = ident[1] if ident is not None and ident[1] != "(null)" else None
        devices.append(BlockDevice(name[1], int(size[1]), serial, (name[2], *_DISKS.get(name[2], ()))))
    return devices
