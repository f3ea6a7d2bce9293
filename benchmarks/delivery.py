"""How an image reaches a lab host: plugged in as a read-only disk, against copying it by SFTP and by libvirt's storage upload."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from lxml import etree

from fixtures.checkpoint import CheckpointStore
from fixtures.connection import EMBED, Connection
from fixtures.deadline import Deadline
from fixtures.host import Host
from fixtures.hypervisors.xml_element import element
from fixtures.lab_host import START_SECONDS, LabHost
from fixtures.libvirt_tunnel import LibvirtTunnel
from fixtures.remote_machine import bring, run_on
from images import Store, load_catalogue
from matrix.lab import lab_cells, lab_host_specs
from matrix.load import load
from matrix.model import HostSpec
from matrix.places import cache_dir

_LAB_HOST = "lab-kvm"
_IMAGE = "debian-12"
_MIB = 1 << 20
_SAMPLE_MIB = 32
"""How much is copied: a whole image takes minutes, and the rate is the same after a few seconds."""

_FOLDER = Path("/var/lib/guestcert/bench")


def measure() -> dict[str, float]:
    """`plugged_s`: seconds until the lab host sees the whole image (`image_mib` on this machine's disk) as a disk of its own;
    `sftp_mib_s`, `storage_upload_mib_s`: MiB a second of a part of it, by SFTP and by libvirt's storage upload (both through the
    one SSH connection); `sftp_over_plugged`, `storage_upload_over_plugged`: how many times longer the whole would take.
    """
    matrix, catalogue = load(), load_catalogue()
    spec = lab_host_specs(matrix)[_LAB_HOST]
    (cell,) = lab_cells(matrix, [spec])
    with (
        closing(Store(cache_dir())) as images,
        tempfile.TemporaryDirectory(prefix="bench-", dir=cache_dir()) as folder,
        Host.open(HostSpec(id="local", uri=EMBED)) as base,
        closing(
            LabHost.start(
                spec,
                cell,
                base,
                images.obtain(catalogue[cell.guest.image]),
                folder=Path(folder, "host"),
                checkpoints=CheckpointStore(cache_dir() / "checkpoints"),
                run_id="bench",
            )
        ) as lab,
    ):
        image = images.obtain(catalogue[_IMAGE])
        part = Path(folder, "part")
        with image.disk.open("rb") as whole:
            part.write_bytes(whole.read(_SAMPLE_MIB * _MIB))
        deadline = Deadline.after(START_SECONDS)
        with closing(lab.machine.open_ssh(deadline)) as ssh:
            plugged = _timed(lambda: lab.machine.disks(spec, ssh).supply(image))
            sftp = _timed(lambda: bring(ssh, spec.id, part, _FOLDER / "by-sftp"))
            with closing(LibvirtTunnel(ssh, spec.uri, lab.machine.socket_folder / "bench")) as tunnel:
                run_on(ssh, spec.id, ["mkdir", "-p", str(_FOLDER)])
                connection = Connection.open(tunnel.uri)
                try:
                    volume = _new_volume(connection.raw)
                    upload = _timed(lambda: _upload(connection.raw, volume, part))
                finally:
                    connection.close()
    whole_mib = image.disk.stat().st_size / _MIB
    sys.stderr.write(f"{_SAMPLE_MIB} MiB: {sftp:.1f} s by SFTP, {upload:.1f} s by storage upload\n")
    return {
        "plugged_s": plugged,
        "image_mib": whole_mib,
        "sftp_mib_s": _SAMPLE_MIB / sftp,
        "storage_upload_mib_s": _SAMPLE_MIB / upload,
        "sftp_over_plugged": sftp * whole_mib / _SAMPLE_MIB / plugged,
        "storage_upload_over_plugged": upload * whole_mib / _SAMPLE_MIB / plugged,
    }


def _timed(doing: Callable[[], object]) -> float:
    begun = time.monotonic()
    doing()
    return time.monotonic() - begun


def _new_volume(connection: Any) -> Any:
    """A raw volume in a pool that is a folder of the lab host."""
    pool = element("pool", element("name", "bench"), element("target", element("path", str(_FOLDER))), type="dir")
    volume = element(
        "volume",
        element("name", "by-upload"),
        element("capacity", str(_SAMPLE_MIB), unit="MiB"),
        element("target", element("format", type="raw")),
    )
    return connection.storagePoolCreateXML(etree.tostring(pool, encoding="unicode")).createXML(
        etree.tostring(volume, encoding="unicode")
    )


def _upload(connection: Any, volume: Any, part: Path) -> None:
    stream = connection.newStream()
    volume.upload(stream, 0, part.stat().st_size)
    with part.open("rb") as file:
        stream.sendAll(lambda _stream, size, source: source.read(size), file)
    stream.finish()
