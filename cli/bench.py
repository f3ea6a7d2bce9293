"""`guestcert bench`: what the harness itself costs, each figure beside a reference measured in the same run."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass


class NotMeasured(Exception):
    """What a benchmark raises when what it was to measure did not happen: why, in a line."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table: a key of a benchmark's `measure()`, what it is, its unit and the most it should be."""

    key: str
    what: str
    unit: str
    target: float | None = None

    def verdict(self, value: float) -> str:
        """How the value compares with its target; empty without one."""
        if self.target is None:
            return ""
        return f"{'met' if value <= self.target else 'MISSED'} (<= {self.target:g})"


BENCHMARKS: Mapping[str, tuple[Figure, ...]] = {
    "restore": (
        Figure("restore_s", "restore to first command", "s", 1.0),
        Figure("raw_s", "raw QEMU, -incoming of the same state, to first command", "s"),
        Figure("over_raw", "restore over raw QEMU", "x", 2.0),
        Figure("cold_boot_s", "cold boot of debian-12 to ready", "s", 15.0),
        Figure("raw_boot_s", "raw QEMU, cold boot of the same to its login prompt", "s"),
        Figure("over_raw_boot", "cold boot over raw QEMU", "x"),
        Figure("over_cold_boot", "restore over cold boot", "x"),
    ),
    "emulator": (
        Figure("boot_s", "cold boot of debian-12-sysvinit in the QEMU chosen for guests", "s", 20.0),
        Figure("own_boot_s", "the same in the machine's own QEMU", "s"),
        Figure("over_own", "the chosen one over the machine's own", "x", 1.0),
    ),
    "smoke": (
        Figure("smoke_s", "warm smoke run of debian-12 and debian-13", "s", 40.0),
        Figure("raw_boots_s", "raw QEMU, both guests booted side by side to their login prompts", "s"),
        Figure("over_raw_boots", "smoke run over raw QEMU's boots (each guest boots twice in it)", "x"),
    ),
    "lab": (
        Figure("lab_kvm_host_s", "lab-kvm restored, to an open libvirt connection", "s", 10.0),
        Figure("lab_xen_host_s", "lab-xen restored, to an open libvirt connection", "s", 10.0),
        Figure("tcg_minimal_s", "minimal guest, start to first answer, on this machine", "s"),
        Figure("kvm_guest_s", "minimal guest in lab-kvm, start to first answer", "s"),
        Figure("kvm_over_tcg", "the same over this machine", "x"),
        Figure("xen_pv_guest_s", "minimal PV guest in lab-xen, start to first answer", "s"),
        Figure("xen_pv_over_tcg", "the same over this machine", "x"),
        Figure("xen_pvh_guest_s", "minimal PVH guest in lab-xen, start to first answer", "s"),
        Figure("xen_pvh_over_tcg", "the same over this machine", "x"),
        Figure("tcg_debian_12_s", "debian-12, start to first answer, on this machine", "s"),
        Figure("xen_hvm_guest_s", "debian-12 as HVM guest in lab-xen, start to first answer", "s"),
        Figure("xen_hvm_over_tcg", "the same over this machine", "x"),
    ),
    "software": (
        Figure("software_s", "warm smoke run of debian-12 on all hypervisors of the software lab", "s", 900.0),
        Figure("alone_s", "warm smoke run of debian-12 on this machine alone", "s"),
        Figure("over_alone", "the former over the latter", "x"),
    ),
    "delivery": (
        Figure("plugged_s", "debian-12's image plugged into lab-kvm as a read-only disk", "s"),
        Figure("image_mib", "size of that image", "MiB"),
        Figure("sftp_mib_s", "copied to lab-kvm by SFTP", "MiB/s"),
        Figure("storage_upload_mib_s", "copied to lab-kvm by libvirt's storage upload", "MiB/s"),
        Figure("sftp_over_plugged", "the whole image by SFTP over plugged in", "x"),
        Figure("storage_upload_over_plugged", "the whole image by storage upload over plugged in", "x"),
    ),
    "no_op_probe": (
        Figure("probe_ms", "a probe that does nothing, all reporting on", "ms", 10.0),
        Figure("plain_ms", "a test that does nothing, plain pytest", "ms"),
        Figure("over_plain_pytest", "probe over plain pytest", "x"),
    ),
    "expansion": (
        Figure("seconds_100k", "expand 100,000 cells with 300 rules", "s", 1.0),
        Figure("seconds_10k", "expand 10,000 cells with 300 rules", "s"),
        Figure("growth", "growth from 10,000 to 100,000 cells (1 is linear)", "x", 1.5),
        Figure("rules_cost", "300 rules over no rules", "x"),
        Figure("over_plain_loop", "over a loop that only builds the cells", "x"),
    ),
}


def main(arguments: list[str]) -> int:
    """Measure and print; returns 0 whether or not targets are met: machines differ, people judge. 3 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="guestcert bench", description="Measure the harness itself.")
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.benchmarks if name not in BENCHMARKS]
    if unknown:
        sys.stderr.write(f"guestcert bench: no benchmark '{unknown[0]}' (allowed: {', '.join(BENCHMARKS)})\n")
        return 2
    measured: dict[str, dict[str, float]] = {}
    status = 0
    for name in options.benchmarks or BENCHMARKS:
        sys.stderr.write(f"measuring {name} ...\n")
        try:
            measured[name] = importlib.import_module(f"benchmarks.{name}").measure()
        except NotMeasured as failure:  # what was measured before stays
            sys.stderr.write(f"guestcert bench: {name}: {failure}\n")
            status = 3
    sys.stdout.write(f"{json.dumps(measured, indent=2)}\n" if options.json else table(measured))
    return status


def table(measured: Mapping[str, Mapping[str, float]]) -> str:
    """The figures as aligned lines; keys without a description are shown as they are."""
    rows: list[tuple[str, str, str, str]] = []
    for name, values in measured.items():
        known = {figure.key: figure for figure in BENCHMARKS.get(name, ())}
        for key in [*(key for key in known if key in values), *(key for key in values if key not in known)]:
            figure = known.get(key, Figure(key, key, ""))
            rows.append((name, figure.what, f"{values[key]:.3g} {figure.unit}".rstrip(), figure.verdict(values[key])))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return "".join(
        f"{name:<{widths[0]}}  {what:<{widths[1]}}  {value:>{widths[2]}}  {verdict}".rstrip() + "\n"
        for name, what, value, verdict in rows
    )
