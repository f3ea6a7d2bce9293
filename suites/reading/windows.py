"""What Windows says about devices, asked in PowerShell: one line a device, fields between tabulators."""

from __future__ import annotations

import re

from suites.reading.sysfs import BlockDevice, NetworkInterface

INTERFACES = 'Get-NetAdapter | ForEach-Object { ($_.Name, $_.MacAddress, $_.Status, $_.PnPDeviceID) -join "`t" }'
DISKS = 'Get-Disk | ForEach-Object { ($_.Number, $_.Size, $_.SerialNumber, $_.BusType) -join "`t" }'

# By what is plugged in, as its driver may have any name: PCI vendor and device in hexadecimal, and Linux's driver for it.
_CARDS = {
    "VEN_1AF4&DEV_1000": "virtio_net",
    "VEN_1AF4&DEV_1041": "virtio_net",
    "VEN_8086&DEV_10D3": "e1000e",
    "VEN_8086&DEV_100E": "e1000",
    "VEN_10EC&DEV_8139": "8139cp",
}
# A virtio disk's driver (viostor) is one for SCSI.
_BUSES = {"SATA": ("ahci",), "SCSI": ("virtio_blk", "virtio_scsi"), "NVMe": ("nvme",)}


def parse_windows_interfaces(text: str) -> list[NetworkInterface]:
    """The lines of INTERFACES; `carrier` is None for a disabled one. Raises ValueError."""
    interfaces = []
    for line in filter(None, text.splitlines()):
        name, mac, status, device = line.split("\t")
        identity = re.search(r"VEN_[0-9A-F]{4}&DEV_[0-9A-F]{4}", device.upper())
        drivers = (_CARDS.get(identity[0], identity[0]),) if identity is not None else ()
        carrier = None if status == "Disabled" else status == "Up"
        interfaces.append(NetworkInterface(name, mac.replace("-", ":").lower(), carrier, drivers, {}))
    return interfaces


def parse_windows_disks(text: str) -> list[BlockDevice]:
    """The lines of DISKS. Raises ValueError."""
    devices = []
    for line in filter(None, text.splitlines()):
        number, size, serial, bus = line.split("\t")
        devices.append(BlockDevice(f"disk{number}", int(size), serial.strip() or None, _BUSES.get(bus, (bus,))))
    return devices
