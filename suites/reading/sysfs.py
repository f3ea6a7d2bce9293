"""What /sys says about devices, parsed. One shell snippet reads a class of devices, one function understands it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Walks from a device to the root of the device tree and prints the driver bound at each step: for a disk behind an
# AHCI controller "sd ahci", for one on virtio "virtio_blk virtio-pci". `cd -P` resolves links inside the shell itself;
# a readlink for every step would cost a fork each.
_DRIVER_CHAIN = """
drivers() {
    cd -P "$1" 2>/dev/null || return 0
    while [ "$PWD" != /sys/devices ] && [ "$PWD" != / ]; do
        here=$PWD
        if [ -d driver ]; then cd -P driver && printf ' %s' "${PWD##*/}"; fi
        cd "$here/.."
    done
}
"""


def devices_snippet(sys_class: str) -> str:
    """A shell snippet that prints `name driver driver...` for each device below /sys/<`sys_class`>."""
    return (
        _DRIVER_CHAIN + f'for device in /sys/{sys_class}/*; do printf "%s" "${{device##*/}}"; '
        '(drivers "$device/device"); echo; done'
    )


def parse_drivers(text: str) -> dict[str, tuple[str, ...]]:
    """Output of `devices_snippet`: the drivers of each device from itself up to its bus; none for virtual devices."""
    return {words[0]: tuple(words[1:]) for words in map(str.split, text.splitlines()) if words}


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A block device of the guest; `serial` is None where its bus has none to show."""

    name: str
    size_bytes: int
    serial: str | None
    drivers: tuple[str, ...]


BLOCK_FILES = (
    "/sys/block/*/size",
    "/sys/block/*/serial",  # virtio-blk
    "/sys/block/*/device/serial",  # nvme
)
# SCSI and SATA disks keep the serial in vital product data page 0x80: four bytes of header, then the text (SPC-4).
SCSI_SERIALS = (
    'for page in /sys/block/*/device/vpd_pg80; do [ -r "$page" ] || continue; '
    'name=${page#/sys/block/}; printf \'%s \' "${name%%/*}"; dd if="$page" bs=1 skip=4 2>/dev/null; echo; done'
)


def parse_block_devices(files: Mapping[str, str], drivers: str, scsi_serials: str) -> list[BlockDevice]:
    """Block devices from BLOCK_FILES, `devices_snippet("block")` and SCSI_SERIALS; virtual ones have no drivers."""
    chains = parse_drivers(drivers)
    serials = {
        line.split(maxsplit=1)[0]: line.partition(" ")[2].strip() for line in scsi_serials.splitlines() if line.strip()
    }
    devices = []
    for path, size in files.items():
        match = re.fullmatch(r"/sys/block/([^/]+)/size", path)
        if not match:
            continue
        name = match[1]
        serial = (
            files.get(f"/sys/block/{name}/serial") or files.get(f"/sys/block/{name}/device/serial") or serials.get(name)
        )
        # The size is in sectors of 512 bytes whatever the disk's own sector is (include/linux/blk_types.h).
        devices.append(BlockDevice(name, int(size) * 512, serial.strip() if serial else None, chains.get(name, ())))
    return devices


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """A network interface of the guest; `carrier` is None when it is administratively down and so cannot be told."""

    name: str
    mac: str
    carrier: bool | None
    drivers: tuple[str, ...]
    statistics: Mapping[str, int]


NIC_FILES = (
    "/sys/class/net/*/address",
    "/sys/class/net/*/carrier",
    "/sys/class/net/*/statistics/*",
)


def parse_interfaces(files: Mapping[str, str], drivers: str) -> list[NetworkInterface]:
    """Network interfaces from NIC_FILES and `devices_snippet("class/net")`."""
    chains = parse_drivers(drivers)
    interfaces = []
    for path, mac in files.items():
        match = re.fullmatch(r"/sys/class/net/([^/]+)/address", path)
        if not match:
            continue
        name = match[1]
        folder = f"/sys/class/net/{name}"
        carrier = files.get(f"{folder}/carrier")
        statistics = {
            entry.rpartition("/")[2]: int(text)
            for entry, text in files.items()
            if entry.startswith(f"{folder}/statistics/")
        }
        interfaces.append(
            NetworkInterface(
                name,
                mac.strip().lower(),
                None if carrier is None else carrier.strip() == "1",
                chains.get(name, ()),
                statistics,
            )
        )
    return interfaces


@dataclass(frozen=True, slots=True)
class Topology:
    """How the processors are arranged: `cores` per socket, `threads` per core; None where sockets or cores differ."""

    sockets: int
    cores: int | None
    threads: int | None

    @property
    def vcpus(self) -> int | None:
        """How many processors that makes; None where sockets or cores differ."""
        return None if self.cores is None or self.threads is None else self.sockets * self.cores * self.threads


TOPOLOGY_FILES = (
    "/sys/devices/system/cpu/cpu*/topology/physical_package_id",
    "/sys/devices/system/cpu/cpu*/topology/die_id",
    "/sys/devices/system/cpu/cpu*/topology/core_id",
)


def parse_topology(files: Mapping[str, str]) -> Topology | None:
    """Topology of the CPUs that are online, from TOPOLOGY_FILES; None when the kernel shows none."""
    cores: dict[str, dict[tuple[str, str], int]] = {}
    for path, package in files.items():
        match = re.fullmatch(r"(/sys/devices/system/cpu/cpu\d+/topology)/physical_package_id", path)
        if not match:
            continue
        # Core numbers are unique within a die only.
        core = (files.get(f"{match[1]}/die_id", "0").strip(), files.get(f"{match[1]}/core_id", "0").strip())
        of_package = cores.setdefault(package.strip(), {})
        of_package[core] = of_package.get(core, 0) + 1
    if not cores:
        return None
    cores_per_socket = {len(of_package) for of_package in cores.values()}
    threads_per_core = {threads for of_package in cores.values() for threads in of_package.values()}
    return Topology(len(cores), _only(cores_per_socket), _only(threads_per_core))


def _only(values: set[int]) -> int | None:
    return next(iter(values)) if len(values) == 1 else None
