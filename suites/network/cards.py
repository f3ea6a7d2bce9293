"""Are network cards, addresses and counters as they should be?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import Field

from fixtures.definition import Nic
from suites.bounds import Bounds, load_bounds
from suites.reading.procfs import Route
from suites.reading.sysfs import NetworkInterface


class NetworkBounds(Bounds):
    """`bounds.yaml`: sizes in MiB, times in seconds, shares of packets."""

    address_s: int = Field(ge=0)
    transfer_mib: int = Field(gt=0)
    transfer_s: float = Field(gt=0)
    error_share: float = Field(ge=0, lt=1)
    drop_share: float = Field(ge=0, lt=1)


def network_bounds() -> NetworkBounds:
    """The bounds beside this module."""
    return load_bounds(Path(__file__).with_name("bounds.yaml"), NetworkBounds)


def routes_snippet(seconds: int) -> str:
    """Shell words for /proc/net/route, once it has a default route or after `seconds`: who asks by DHCP may still be waiting."""
    return (
        'has() { while read -r card to rest; do [ "$to" = 00000000 ] && return; done </proc/net/route; return 1; }\n'
        f'left={seconds}; while [ "$left" -gt 0 ] && ! has; do left=$((left - 1)); sleep 1; done\n'
        "cat /proc/net/route"
    )


def interface_of(nic: Nic, interfaces: Iterable[NetworkInterface]) -> NetworkInterface | None:
    """The interface with the card's MAC address that has a driver (bridges and bonds borrow a card's address)."""
    return next((each for each in interfaces if each.mac == nic.mac.lower() and each.drivers), None)


def judge_nic(nic: Nic, interfaces: Iterable[NetworkInterface]) -> list[str]:
    """What is wrong with `nic` as the guest sees it; empty when nothing is."""
    known = list(interfaces)
    interface = interface_of(nic, known)
    if interface is None:
        seen = ", ".join(f"{each.name} ({each.mac})" for each in known if each.drivers) or "no card at all"
        return [f"expected a network card with MAC {nic.mac}, the guest has {seen}"]
    problems = []
    if nic.driver not in interface.drivers:
        problems.append(
            f"expected {interface.name} to be driven by {nic.driver}, it is by {' below '.join(interface.drivers)}"
        )
    if interface.carrier is not True:
        problems.append(
            f"expected {interface.name} to have a link, it {'is down' if interface.carrier is None else 'has none'}"
        )
    return problems


def judge_address(
    interface: str, routes: Iterable[Route], addresses: Iterable[IPv4Address], host: IPv4Address
) -> list[str]:
    """What is wrong with the IPv4 set-up of `interface`: it must reach `host` directly and everything else by default."""
    known = [route for route in routes if route.interface == interface]
    own = sorted(addresses)
    networks = [route.network for route in known if route.gateway is None and not route.is_default]
    problems = []
    if not any(host in network for network in networks):
        problems.append(
            f"expected {interface} to be in the network of the host's address {host}, it is in "
            f"{', '.join(map(str, networks)) or 'none'}"
        )
    if not any(address in network for network in networks for address in own):
        problems.append(
            f"expected {interface} to have an address in its network, the guest has {', '.join(map(str, own)) or 'none'}"
        )
    if not any(route.is_default for route in known):
        problems.append(f"expected a default route by {interface}, there is none")
    return problems


def judge_counters(
    before: Mapping[str, int], after: Mapping[str, int], sent: int, received: int, bounds: NetworkBounds
) -> list[str]:
    """What the card's counters say against a transfer of `sent` and `received` bytes between two readings of them."""
    grown = {name: after[name] - before.get(name, 0) for name in after}
    problems = []
    for direction, expected in (("tx", sent), ("rx", received)):
        if grown.get(f"{direction}_bytes", 0) < expected:
            problems.append(
                f"expected {expected} bytes to go through the card ({direction}_bytes), it counted {grown.get(f'{direction}_bytes', 0)}"
            )
        packets = max(1, grown.get(f"{direction}_packets", 0))
        for kind, share in (("errors", bounds.error_share), ("dropped", bounds.drop_share)):
            count = grown.get(f"{direction}_{kind}", 0)
            if count > packets * share:
                problems.append(
                    f"expected at most {packets * share:.0f} {direction}_{kind} of {packets} packets, the card counted {count}"
                )
    return problems
