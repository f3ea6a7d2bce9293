"""How fast are processors, memory, disk and network?"""

from __future__ import annotations

import pytest

from fixtures.deadline import Deadline
from fixtures.guest import Guest
from fixtures.observation import Direction
from suites.fixture_types import Attach, OpenStep, RecordMetric
from suites.performance.bounds import performance_bounds
from suites.performance.tool_output import parse_fio, parse_iperf3, parse_sysbench_cpu, parse_sysbench_memory
from suites.performance.tools import iperf3_server, run_tool

pytestmark = pytest.mark.requires("!windows")


def test_cpu_rate(guest: Guest, metric: RecordMetric, attach: Attach) -> None:
    """Integer work per second, on one and on all virtual CPUs.

    Preconditions: sysbench in the guest.
    Steps: `sysbench cpu` with one thread, then with as many as there are virtual CPUs.
    Expected: both rates are above zero; metrics cpu_integer_single and cpu_integer_all in ops/s, higher is better.
    """
    bounds = performance_bounds()
    for name, threads in (("cpu_integer_single", 1), ("cpu_integer_all", guest.definition.vcpus)):
        text = run_tool(
            guest,
            "sysbench",
            "cpu",
            f"--time={bounds.sysbench_s}",
            f"--threads={threads}",
            f"--cpu-max-prime={bounds.sysbench_max_prime}",
            "run",
            timeout=bounds.sysbench_s + bounds.overhead_s,
        )
        attach(f"{name}.txt", text)
        rate = parse_sysbench_cpu(text)
        assert rate > 0, f"expected sysbench to do events with {threads} threads, it did none; see {name}.txt"
        metric(name, rate, "ops/s", Direction.HIGHER)


def test_memory_bandwidth(guest: Guest, metric: RecordMetric, attach: Attach) -> None:
    """Bytes per second out of and into memory, by one virtual CPU.

    Preconditions: sysbench in the guest.
    Steps: `sysbench memory` reading, then writing, in blocks of 1 MiB.
    Expected: both are above zero; metrics memory_read and memory_write in MiB/s, higher is better.
    """
    bounds = performance_bounds()
    for operation in ("read", "write"):
        text = run_tool(
            guest,
            "sysbench",
            "memory",
            f"--time={bounds.sysbench_s}",
            "--threads=1",
            "--memory-block-size=1M",
            "--memory-total-size=1024T",
            f"--memory-oper={operation}",
            "run",
            timeout=bounds.sysbench_s + bounds.overhead_s,
        )
        attach(f"memory-{operation}.txt", text)
        rate = parse_sysbench_memory(text)
        assert rate > 0, f"expected sysbench to {operation} memory, it moved nothing; see memory-{operation}.txt"
        metric(f"memory_{operation}", rate, "MiB/s", Direction.HIGHER)


def test_disk_throughput(guest: Guest, metric: RecordMetric, attach: Attach) -> None:
    """Sequential and random throughput of the root disk, past the guest's cache, at depth 1.

    Preconditions: fio in the guest.
    Steps: fio with direct I/O on a file of its own: sequential write and read in 1 MiB blocks, random write and read in 4 KiB blocks;
    the file is removed.
    Expected: all four are above zero; metrics disk_sequential_* in MiB/s, disk_random_* in IOPS (higher is better) and
    their 99th percentile of latency in us (lower is better).
    """
    bounds = performance_bounds()
    path = "/var/tmp/guestcert-fio"  # noqa: S108  # kept on disk (hier(7)), unlike /tmp
    common = (
        f"--filename={path}",
        f"--size={bounds.fio_size_mib}m",
        f"--runtime={bounds.fio_s}",
        "--time_based",
        "--direct=1",
        "--ioengine=psync",
        "--unlink=0",
        "--stonewall",
    )
    jobs = (("sequential_write", "write", "1m"), ("sequential_read", "read", "1m"), ("random_write", "randwrite", "4k"), ("random_read", "randread", "4k"))  # fmt: skip
    arguments = [
        word
        for name, pattern, block in jobs
        for word in (f"--name={name}", f"--rw={pattern}", f"--bs={block}", *common)
    ]
    try:
        text = run_tool(
            guest, "fio", "--output-format=json", *arguments, timeout=len(jobs) * bounds.fio_s + bounds.overhead_s
        )
    finally:
        guest.run(("rm", "-f", path))
    attach("fio.json", text, "application/json")
    measured = parse_fio(text)
    for name, _, _ in jobs:
        job = measured[name]
        assert job.iops > 0, f"expected fio to do operations in {name}, it did none; see fio.json"
        if name.startswith("sequential"):
            metric(f"disk_{name}", job.mib_per_s, "MiB/s", Direction.HIGHER)
        else:
            metric(f"disk_{name}", job.iops, "IOPS", Direction.HIGHER)
            metric(f"disk_{name}_p99", job.p99_us, "us", Direction.LOWER)


def test_network_throughput(guest: Guest, metric: RecordMetric, attach: Attach, step: OpenStep) -> None:
    """One TCP stream from guest to host, and one back.

    Preconditions: iperf3 in the guest and on this machine.
    Steps: iperf3 from the guest to a server on this machine's loopback, then the same with the host sending.
    Expected: both are above zero; metrics network_to_host and network_from_host in Gbit/s, higher is better.
    """
    bounds = performance_bounds()
    timeout = bounds.iperf3_s + bounds.overhead_s
    for name, direction in (("network_to_host", ()), ("network_from_host", ("--reverse",))):
        with step(name), iperf3_server(Deadline.after(timeout)) as port, guest.exposing(port) as server:
            text = run_tool(
                guest,
                "iperf3",
                "--client",
                server.address,
                "--port",
                str(server.port),
                "--time",
                str(bounds.iperf3_s),
                "--json",
                *direction,
                timeout=timeout,
            )
        attach(f"{name}.json", text, "application/json")
        rate = parse_iperf3(text)
        assert rate > 0, f"expected iperf3 to move data ({name}), it moved none; see {name}.json"
        metric(name, rate, "Gbit/s", Direction.HIGHER)
