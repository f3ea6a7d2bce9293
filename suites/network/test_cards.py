"""Are the guest's network cards those that were defined, and are they in use?"""

from __future__ import annotations

import json
from dataclasses import asdict
from ipaddress import IPv4Address

import pytest

from fixtures.guest import Guest
from suites.fixture_types import Attach
from suites.network.cards import interface_of, judge_address, judge_nic, network_bounds, routes_snippet
from suites.reading.batch import files_snippet, parse_files, run_batch
from suites.reading.procfs import parse_local_addresses, parse_routes
from suites.reading.questions import ask, questions_for
from suites.reading.sysfs import NIC_FILES, devices_snippet, parse_interfaces


def test_nic_seen(guest: Guest, attach: Attach) -> None:
    """Every network card of the domain is there as defined.

    Preconditions: none.
    Steps: read MAC address, link and drivers of each interface.
    Expected: for each defined card an interface with its MAC address, its driver and a link.
    """
    interfaces, _ = ask(guest, "its network cards", questions_for(guest).cards)
    attach("network-interfaces.json", json.dumps([asdict(each) for each in interfaces], indent=2), "application/json")
    problems = [problem for nic in guest.definition.nics for problem in judge_nic(nic, interfaces)]
    assert not problems, f"{'; '.join(problems)}; see network-interfaces.json"


@pytest.mark.requires("linux")
def test_address(guest: Guest, attach: Attach) -> None:
    """The first network card has an address in its network, by DHCP or statically.

    Preconditions: a network card.
    Steps: read addresses and routes from /proc, once there is a default route or the time for it is over.
    Expected: an address in the network that the host's address is in, and a default route.
    """
    seconds = network_bounds().address_s
    batch = run_batch(
        guest,
        {
            "routes": routes_snippet(seconds),
            "files": files_snippet(*NIC_FILES[:2]),
            "drivers": devices_snippet("class/net"),
            "addresses": "cat /proc/net/fib_trie",
        },
        timeout=30.0 + seconds,
    )
    attach("routes-and-addresses.txt", f"{batch['routes'].text}\n{batch['addresses'].text}")
    interfaces = parse_interfaces(parse_files(batch["files"].text, *NIC_FILES), batch["drivers"].text)
    nic = guest.definition.nics[0]
    interface = interface_of(nic, interfaces)
    assert interface is not None, f"expected a network card with MAC {nic.mac}, the guest has none"
    problems = judge_address(
        interface.name,
        parse_routes(batch["routes"].text),
        parse_local_addresses(batch["addresses"].text),
        IPv4Address(guest.host_address_from_guest),
    )
    assert not problems, f"{'; '.join(problems)}; see routes-and-addresses.txt"
