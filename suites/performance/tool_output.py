"""What measuring tools print, as numbers. Each raises ValueError when a tool printed something else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any


def parse_sysbench_cpu(text: str) -> float:
    """Events per second of `sysbench cpu run`."""
    return _number(r"events per second:\s*([\d.]+)", text, "sysbench's events per second")


def parse_sysbench_memory(text: str) -> float:
    """MiB per second of `sysbench memory run`."""
    return _number(r"MiB transferred \(([\d.]+) MiB/sec\)", text, "sysbench's MiB/sec")


@dataclass(frozen=True, slots=True)
class FioJob:
    """One direction of one fio job: MiB/s, operations/s and the 99th percentile of completion latency in us."""

    mib_per_s: float
    iops: float
    p99_us: float


def parse_fio(text: str) -> dict[str, FioJob]:
    """Jobs of `fio --output-format=json` by name; each reads or writes, not both."""
    # fio may say something about its surroundings before the JSON begins.
    report = _json(text[text.find("{") :], "fio")
    jobs = {}
    for job in report.get("jobs", []):
        if job.get("error"):
            raise ValueError(f"fio job {job.get('jobname')} ended with error {job['error']}")
        side = max((job["read"], job["write"]), key=lambda each: float(each["io_bytes"]))
        percentiles = side["clat_ns"].get("percentile", {})
        jobs[job["jobname"]] = FioJob(
            mib_per_s=side["bw_bytes"] / (1 << 20), iops=side["iops"], p99_us=percentiles.get("99.000000", 0) / 1000
        )
    if not jobs:
        raise ValueError("expected jobs in fio's report, there are none")
    return jobs


def parse_iperf3(text: str) -> float:
    """Gbit/s that arrived, by `iperf3 --json`."""
    report = _json(text, "iperf3")
    if "error" in report:
        raise ValueError(f"iperf3: {report['error']}")
    try:
        return float(report["end"]["sum_received"]["bits_per_second"]) / 1e9
    except KeyError as error:
        raise ValueError(f"expected {error} in iperf3's report, it is not there") from error


def _number(pattern: str, text: str, what: str) -> float:
    match = re.search(pattern, text)
    if not match:
        raise ValueError(f"expected {what}, got {text.strip()[-300:]!r}")
    return float(match[1])


def _json(text: str, tool: str) -> dict[str, Any]:
    try:
        report = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"expected {tool} to print JSON ({error}), got {text.strip()[-300:]!r}") from error
    return dict(report)
