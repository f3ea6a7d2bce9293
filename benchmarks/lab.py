"""Hosts of the software lab: restored to a working libvirt connection, and a guest of each of their hypervisors."""

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

_THERE = {
    "lab-kvm": {"kvm": "minimal+kvm+svm"},
    # An HVM guest starts from its disk's own loader, and `minimal` has no disk.
    "lab-xen": {"xen_pv": "minimal+xen-pv+none", "xen_pvh": "minimal+xen-pvh+svm", "xen_hvm": "debian-12+xen-hvm+svm"},
}
_BOOT_SECONDS = 900.0


def measure() -> dict[str, float]:
    """Seconds: `<lab host>_host_s` from nothing to an open libvirt connection to the lab host, restored from its
    checkpoint (which is made before, where there is none); `<hypervisor>_guest_s` from the start of a guest in it to its
    first answer, `tcg_<guest>_s` the same of that guest without a lab host, `<hypervisor>_over_tcg` the ratio of both.
    """
    measured: dict[str, float] = {}
    with _bench() as bench:
        here = bench.hosts.of(HostSpec(id="local", uri="qemu:///embed"))
        for host_id, cells in _THERE.items():
            bench.hosts.of(bench.spec(host_id))
            bench.hosts.forget(host_id)
            begun = time.monotonic()
            host = bench.hosts.of(bench.spec(host_id))
            measured[f"{host_id.replace('-', '_')}_host_s"] = time.monotonic() - begun
            for name, cell in cells.items():
                guest = cell.partition("+")[0]
                reference = f"tcg_{guest.replace('-', '_')}_s"
                measured[f"{name}_guest_s"] = bench.boot(host, cell)
                if reference not in measured:
                    measured[reference] = bench.boot(here, f"{guest}+qemu-tcg+none")
                measured[f"{name}_over_tcg"] = measured[f"{name}_guest_s"] / measured[reference]
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
