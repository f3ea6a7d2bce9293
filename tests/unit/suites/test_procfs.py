"""Texts of /proc, as kernels print them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.reading.procfs import (
    lives_on_disk,
    mount_holding,
    mount_of,
    parse_cpu_list,
    parse_local_addresses,
    parse_meminfo,
    parse_mounts,
    parse_routes,
)

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
enp1s0	00000000	0202000A	0003	0	0	1024	00000000	0	0	0
enp1s0	0002000A	00000000	0001	0	0	1024	00FFFFFF	0	0	0
enp2s0	0003000A	00000000	0000	0	0	1024	00FFFFFF	0	0	0
"""
FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.2.0/24 2 0 2
        |-- 10.0.2.0
           /24 link UNICAST
        |-- 10.0.2.15
           /32 host LOCAL
        |-- 10.0.2.255
           /32 link BROADCAST
Local:
     |-- 127.0.0.1
        /32 host LOCAL
"""
MOUNTS = """\
rootfs / rootfs rw 0 0
/dev/vda2 / ext4 rw,relatime 0 0
tmpfs /run tmpfs rw,nosuid 0 0
/dev/vdb1 /var/my\\040data xfs ro,relatime 0 0
tmpfs /srv/tmp tmpfs rw 0 0
"""


def test_meminfo() -> None:
    text = "MemTotal:         489204 kB\nHugePages_Total:       0\nnonsense\n"
    assert parse_meminfo(text) == {"MemTotal": 489204, "HugePages_Total": 0}


@pytest.mark.parametrize(
    ("text", "cpus"), [("0-3,8\n", {0, 1, 2, 3, 8}), ("0\n", {0}), ("", set()), ("0-1,3-3", {0, 1, 3})]
)
def test_cpu_list(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text) == cpus


@given(st.frozensets(st.integers(0, 300)))
def test_cpu_list_of_single_cpus(cpus: frozenset[int]) -> None:
    assert parse_cpu_list(",".join(map(str, cpus))) == cpus


def test_routes_that_are_up() -> None:
    default, direct = parse_routes(ROUTES)
    assert default.is_default
    assert default.gateway == IPv4Address("10.0.2.2")
    assert direct.network == IPv4Network("10.0.2.0/24")
    assert direct.gateway is None
    assert not direct.is_default


def test_local_addresses_are_only_those_of_the_guest() -> None:
    assert parse_local_addresses(FIB_TRIE) == {IPv4Address("10.0.2.15"), IPv4Address("127.0.0.1")}


def test_mounts() -> None:
    mounts = parse_mounts(MOUNTS)
    root = mount_of(mounts, "/")
    assert root is not None
    assert root.filesystem == "ext4"
    assert mount_of(mounts, "/nowhere") is None
    assert mounts[3].target == "/var/my data"
    assert mounts[3].options == {"ro", "relatime"}


@pytest.mark.parametrize(
    ("path", "filesystem", "on_disk"),
    [
        ("/srv/tmp/x", "tmpfs", False),
        ("/srv/tmpfile", "ext4", True),
        ("/var/my data/x", "xfs", True),
        ("/etc/x", "ext4", True),
    ],
)
def test_which_mount_holds_a_path(path: str, filesystem: str, on_disk: bool) -> None:
    mount = mount_holding(parse_mounts(MOUNTS), path)
    assert mount is not None
    assert mount.filesystem == filesystem
    assert lives_on_disk(mount) is on_disk


def test_no_mount_is_no_disk() -> None:
    assert mount_holding([], "/x") is None
    assert not lives_on_disk(None)
