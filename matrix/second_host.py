"""The second host of a cell, for what happens between two: a migration."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from matrix.model import USER_NETWORK, Binding, Cell, HostSpec


def second_hosts(binding: Binding, first: HostSpec, hosts: Iterable[HostSpec]) -> tuple[tuple[str, ...], str | None]:
    """The ids of the other `hosts` that could run the cell which uses `first`, and that it reaches; without any, why not.

    The reason is one clause: `no second host offers kvm with svm`.
    """
    able = {id_ for id_ in (binding.host_id, *binding.alternatives) if id_ is not None and id_ != first.id}
    others = [host for host in hosts if host.id in able]
    what = offered(binding.cell)
    if not others:
        return (), f"no second host offers {what}"
    reached = tuple(host.id for host in others if _reach_each_other(first, host))
    return reached, None if reached else f"no second host that offers {what} is reached from {first.id}"


def offered(cell: Cell) -> str:
    """What a cell's host offers, in words: `kvm with svm`, `xen-pv`."""
    return cell.hypervisor.id + (f" with {cell.extension.id}" if cell.extension.cpu_flag is not None else "")


def _reach_each_other(one: HostSpec, other: HostSpec) -> bool:
    """Lab hosts are given a cable, others go by the addresses in their URIs; guests keep their kind of network."""
    if (one.network == USER_NETWORK) is not (other.network == USER_NETWORK):
        return False
    if one.lab_host is not None or other.lab_host is not None:
        return one.lab_host is not None and other.lab_host is not None
    return all(urlsplit(host.uri).hostname is not None for host in (one, other))
