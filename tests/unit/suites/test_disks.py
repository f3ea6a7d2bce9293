"""Which block device is which disk, and what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.definition import Disk
from suites.reading.batch import run_batch
from suites.reading.sysfs import SCSI_SERIALS, BlockDevice, devices_snippet, parse_block_devices, parse_drivers
from suites.storage.disks import judge_disk
from tests.unit.suites.local_shell import LocalShell

ROOT = Disk("root", "vda", "virtio", "virtio_blk", "gc-root", 4 << 30)
SEEN = BlockDevice("vda", 4 << 30, "gc-root", ("virtio_blk", "virtio-pci"))
LOOP = BlockDevice("loop0", 0, None, ())


def test_the_disk_as_defined() -> None:
    assert judge_disk(ROOT, [LOOP, SEEN]) == []
    # Names follow the order of discovery; the serial decides.
    assert judge_disk(ROOT, [replace(SEEN, name="vdb"), replace(SEEN, serial="other")]) == []


def test_a_bus_without_serials_goes_by_name() -> None:
    xen = Disk("root", "xvda", "xen", "vbd", "gc-root", 4 << 30)
    assert judge_disk(xen, [BlockDevice("xvda", 4 << 30, None, ("vbd",))]) == []


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        ([], "no disk at all"),
        ([LOOP], "no disk at all"),
        ([replace(SEEN, serial="other")], "expected disk root with serial gc-root, the guest has vda (serial other)"),
        ([replace(SEEN, size_bytes=1 << 30)], "of 4294967296 bytes, vda has 1073741824"),
        ([replace(SEEN, drivers=("sd", "ahci"))], "driven by virtio_blk, vda is by sd below ahci"),
        ([replace(SEEN, drivers=())], "no disk at all"),
    ],
)
def test_a_disk_that_is_not_as_defined(devices: list[BlockDevice], says: str) -> None:
    assert says in "; ".join(judge_disk(ROOT, devices))


def test_devices_of_every_bus() -> None:
    files = {
        "/sys/block/vda/size": "8388608",
        "/sys/block/vda/serial": "gc-root",
        "/sys/block/nvme0n1/size": "2048",
        "/sys/block/nvme0n1/device/serial": "gc-nvme            ",
        "/sys/block/sda/size": "4096",
    }
    devices = parse_block_devices(
        files, "vda virtio_blk virtio-pci\nnvme0n1 nvme\nsda sd ahci\nloop0\n", "sda   gc-scsi \n"
    )
    assert [(each.name, each.size_bytes, each.serial, each.drivers) for each in devices] == [
        ("vda", 4 << 30, "gc-root", ("virtio_blk", "virtio-pci")),
        ("nvme0n1", 1 << 20, "gc-nvme", ("nvme",)),
        ("sda", 2 << 20, "gc-scsi", ("sd", "ahci")),
    ]


@pytest.mark.parametrize("sys_class", ["block", "class/net"])
def test_the_snippets_run_in_a_real_shell(sys_class: str) -> None:
    batch = run_batch(LocalShell(), {"drivers": devices_snippet(sys_class), "scsi": SCSI_SERIALS})
    assert batch["drivers"].status == 0
    assert sys_class == "block" or "lo" in parse_drivers(batch["drivers"].text)
