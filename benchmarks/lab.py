"""Hosts of the software lab: restored to a working libvirt connection, and the same small guest started in each."""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from fixtures.checkpoint import CheckpointStore
from fixtures.deadline import Deadline
from fixtures.guest import Guest, State
from fixtures.host import Host
from fixtures.hosts import Hosts
from fixtures.lease import Leases
from images import Image, Store, load_catalogue
from matrix.expand import expand
from matrix.lab import lab_cells, lab_host_specs
from matrix.load import load
from matrix.model import Cell, HostSpec, Selection
from matrix.places import cache_dir

_HERE = "minimal+qemu-tcg+none"
_THERE = {"kvm": ("lab-kvm", "minimal+kvm+svm"), "xen_pv": ("lab-xen", "minimal+xen-pv+none")}
_BOOT_SECONDS = 900.0


def measure() -> dict[str, float]:
    """Seconds: `<hypervisor>_host_s` from nothing to an open libvirt connection to the lab host, restored from its
    checkpoint (which is made before, where there is none); `<hypervisor>_guest_s` from the start of a `minimal` guest in it
    to its first answer, `tcg_guest_s` the same without a lab host, `<hypervisor>_over_tcg` the ratio of both.
    """
    measured: dict[str, float] = {}
    with _bench() as bench:
        reference = bench.boot(bench.hosts.of(HostSpec(id="local", uri="qemu:///embed")), _HERE)
        measured["tcg_guest_s"] = reference
        for name, (host_id, cell) in _THERE.items():
            bench.hosts.of(bench.spec(host_id))
            bench.hosts.forget(host_id)
            begun = time.monotonic()
            host = bench.hosts.of(bench.spec(host_id))
            measured[f"{name}_host_s"] = time.monotonic() - begun
            measured[f"{name}_guest_s"] = bench.boot(host, cell)
            measured[f"{name}_over_tcg"] = measured[f"{name}_guest_s"] / reference
            bench.hosts.forget(host_id)
    return measured


class _Bench:
    def __init__(self, hosts: Hosts, specs: dict[str, HostSpec], images: Store, folder: Path) -> None:
        self.hosts, self._specs, self._images, self._folder = hosts, specs, images, folder

    def spec(self, host_id: str) -> HostSpec:
        return self._specs[host_id]

    def boot(self, host: Host, cell_id: str) -> float:
        (cell,) = expand(load(), Selection(cell=(cell_id,)), today=_today())
        image = self._images.obtain(load_catalogue()[cell.guest.image])
        with Guest(cell, host, image, self._folder / cell_id) as guest:
            begun = time.monotonic()
            guest.to(State.READY, Deadline.after(_BOOT_SECONDS))
            guest.check(["true"])
            return time.monotonic() - begun


@contextmanager
def _bench() -> Iterator[_Bench]:
    matrix, catalogue = load(), load_catalogue()
    specs = lab_host_specs(matrix)
    cells: dict[str, Cell] = {cell.guest.id: cell for cell in lab_cells(matrix, specs.values())}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=cache_dir())))
        images = stack.enter_context(closing(Store(cache_dir())))

        def obtain(name: str) -> Image:
            return images.obtain(catalogue[name])

        store = CheckpointStore(cache_dir() / "checkpoints")
        leases = Leases("bench", lambda line: print(line, file=sys.stderr))
        hosts = Hosts(cells, obtain, store, folder=folder / "hosts", run_id="bench", leases=leases)
        yield _Bench(stack.enter_context(closing(hosts)), specs, images, folder)


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
