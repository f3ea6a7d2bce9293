"""Cards, addresses and counters: what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from fixtures.definition import Nic
from suites.network.cards import judge_address, judge_counters, judge_nic, network_bounds
from suites.reading.procfs import Route
from suites.reading.sysfs import NetworkInterface, parse_interfaces

NIC = Nic("52:54:00:AA:bb:01", "virtio", "virtio_net")
ENP1S0 = NetworkInterface("enp1s0", "52:54:00:aa:bb:01", True, ("virtio_net", "virtio-pci"), {})  # noqa: FBT003
HOST = IPv4Address("10.0.2.2")
DEFAULT = Route("enp1s0", IPv4Network("0.0.0.0/0"), HOST)
DIRECT = Route("enp1s0", IPv4Network("10.0.2.0/24"), None)
OWN = IPv4Address("10.0.2.15")


def test_the_card_as_defined() -> None:
    bridge = replace(ENP1S0, name="br0", drivers=())
    assert judge_nic(NIC, [bridge, ENP1S0]) == []


@pytest.mark.parametrize(
    ("interfaces", "says"),
    [
        ([], "no card at all"),
        ([replace(ENP1S0, mac="52:54:00:aa:bb:02")], "the guest has enp1s0 (52:54:00:aa:bb:02)"),
        ([replace(ENP1S0, drivers=("e1000e",))], "driven by virtio_net, it is by e1000e"),
        ([replace(ENP1S0, carrier=False)], "to have a link, it has none"),
        ([replace(ENP1S0, carrier=None)], "to have a link, it is down"),
    ],
)
def test_a_card_that_is_not_as_defined(interfaces: list[NetworkInterface], says: str) -> None:
    assert says in "; ".join(judge_nic(NIC, interfaces))


def test_the_address_as_expected() -> None:
    assert judge_address("enp1s0", [DEFAULT, DIRECT], [OWN, IPv4Address("127.0.0.1")], HOST) == []


@pytest.mark.parametrize(
    ("routes", "addresses", "says"),
    [
        ([DEFAULT], [OWN], "it is in none"),
        ([DEFAULT, replace(DIRECT, network=IPv4Network("169.254.0.0/16"))], [OWN], "it is in 169.254.0.0/16"),
        ([DEFAULT, DIRECT], [IPv4Address("127.0.0.1")], "the guest has 127.0.0.1"),
        ([DIRECT], [OWN], "expected a default route by enp1s0"),
        ([replace(DEFAULT, interface="eth9"), DIRECT], [OWN], "expected a default route by enp1s0"),
    ],
)
def test_an_address_that_is_not(routes: list[Route], addresses: list[IPv4Address], says: str) -> None:
    assert says in "; ".join(judge_address("enp1s0", routes, addresses, HOST))


BEFORE = {f"{way}_{what}": 100 for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")}
AFTER = BEFORE | {"rx_bytes": 5100, "tx_bytes": 5100, "rx_packets": 5100, "tx_packets": 5100}


def test_counters_of_a_good_transfer() -> None:
    assert judge_counters(BEFORE, AFTER, 5000, 5000, network_bounds()) == []
    assert judge_counters(BEFORE, AFTER | {"rx_dropped": 105}, 5000, 5000, network_bounds()) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rx_bytes": 5099}, "expected 5000 bytes to go through the card (rx_bytes), it counted 4999"),
        ({"tx_bytes": 100}, "(tx_bytes), it counted 0"),
        ({"rx_errors": 101}, "at most 0 rx_errors of 5000 packets, the card counted 1"),
        ({"tx_dropped": 106}, "at most 5 tx_dropped of 5000 packets, the card counted 6"),
    ],
)
def test_counters_of_a_bad_one(changed: dict[str, int], says: str) -> None:
    assert says in "; ".join(judge_counters(BEFORE, AFTER | changed, 5000, 5000, network_bounds()))


def test_interfaces_from_sysfs() -> None:
    files = {
        "/sys/class/net/enp1s0/address": "52:54:00:AA:BB:01",
        "/sys/class/net/enp1s0/carrier": "1",
        "/sys/class/net/enp1s0/statistics/rx_bytes": "42",
        "/sys/class/net/lo/address": "00:00:00:00:00:00",
    }
    card, loopback = parse_interfaces(files, "enp1s0 virtio_net virtio-pci\nlo\n")
    assert card == replace(ENP1S0, statistics={"rx_bytes": 42})
    assert loopback.carrier is None
    assert loopback.drivers == ()
