"""What sysbench, fio and iperf3 print."""

from __future__ import annotations

import json

import pytest

from suites.performance.tool_output import parse_fio, parse_iperf3, parse_sysbench_cpu, parse_sysbench_memory

FIO_SIDE = {"io_bytes": 0, "bw_bytes": 0, "iops": 0.0, "clat_ns": {}}
FIO = {
    "jobs": [
        {
            "jobname": "random_read",
            "error": 0,
            "read": {
                "io_bytes": 4096,
                "bw_bytes": 2 << 20,
                "iops": 512.5,
                "clat_ns": {"percentile": {"99.000000": 12345}},
            },
            "write": FIO_SIDE,
        }
    ]
}


def test_sysbench() -> None:
    assert parse_sysbench_cpu("CPU speed:\n    events per second:   208.01\n") == 208.01
    assert parse_sysbench_memory("2838.00 MiB transferred (1418.71 MiB/sec)\n") == 1418.71
    with pytest.raises(ValueError, match="events per second"):
        parse_sysbench_cpu("FATAL: no such test")
    with pytest.raises(ValueError, match="MiB/sec"):
        parse_sysbench_memory("")


def test_fio() -> None:
    job = parse_fio("fio: this platform does not support ...\n" + json.dumps(FIO))["random_read"]
    assert (job.mib_per_s, job.iops, job.p99_us) == (2.0, 512.5, 12.345)


@pytest.mark.parametrize("text", ["", "fio: failed", "{}", json.dumps({"jobs": [{"jobname": "x", "error": 5}]})])
def test_fio_that_failed(text: str) -> None:
    with pytest.raises(ValueError, match="fio"):
        parse_fio(text)


def test_iperf3() -> None:
    assert parse_iperf3(json.dumps({"end": {"sum_received": {"bits_per_second": 2.5e9}}})) == 2.5
    with pytest.raises(ValueError, match="unable to connect"):
        parse_iperf3(json.dumps({"error": "unable to connect"}))
    with pytest.raises(ValueError, match="end"):
        parse_iperf3("{}")
