"""Does data arrive as it was sent?"""

from __future__ import annotations

import pytest

from fixtures.guest import Guest
from suites.network.cards import interface_of, judge_counters, network_bounds
from suites.network.exchange import NO_CLIENT, receive_snippet, receiving, send_snippet, sending
from suites.reading.batch import files_snippet, parse_files, run_batch
from suites.reading.sysfs import NIC_FILES, devices_snippet, parse_interfaces


@pytest.mark.requires("linux")
def test_transfer_verified(guest: Guest) -> None:
    """Bulk data goes both ways through the network card unharmed.

    Preconditions: a network card; a TCP client in the guest (bash, python3, perl, nc or busybox).
    Steps: read the card's counters; take random data from the host; send random data to the host; read the counters.
    Expected: both checksums equal; the card counted the data, and errors and drops within bounds.
    """
    bounds = network_bounds()
    size = bounds.transfer_mib << 20
    with (
        sending(size, bounds.transfer_s) as down,
        receiving(size, bounds.transfer_s) as up,
        guest.exposing(down.port) as source,
        guest.exposing(up.port) as sink,
    ):
        host = source.address
        batch = run_batch(
            guest,
            {
                "before": files_snippet(*NIC_FILES),
                "drivers": devices_snippet("class/net"),
                "down": receive_snippet(source.address, source.port),
                "up": send_snippet(sink.address, sink.port, bounds.transfer_mib),
                "after": files_snippet(*NIC_FILES),
            },
            timeout=2 * bounds.transfer_s,
        )
        if NO_CLIENT in {batch["down"].status, batch["up"].status}:
            pytest.skip("the guest has no TCP client (bash, python3, perl, nc or busybox)")
        received, sent = (batch[way].word.partition(" ")[0] for way in ("down", "up"))
        assert received == down.sent_sha256, (
            f"expected SHA-256 {down.sent_sha256} of {size} bytes from the host ({host}), the guest got {received!r} "
            f"({down.problem or batch.error_text.strip() or 'no message'})"
        )
        up.done.wait(bounds.transfer_s)
        assert up.received_sha256 == sent, (
            f"expected SHA-256 {sent!r} of {size} bytes from the guest, the host ({host}) got {up.received_sha256} "
            f"({up.problem or batch.error_text.strip() or 'no message'})"
        )
    nic = guest.definition.nics[0]
    before, after = (
        interface_of(nic, parse_interfaces(parse_files(batch[when].text, *NIC_FILES), batch["drivers"].text))
        for when in ("before", "after")
    )
    assert before is not None, f"expected a network card with MAC {nic.mac} before the transfer, the guest had none"
    assert after is not None, f"expected a network card with MAC {nic.mac} after the transfer, the guest has none"
    problems = judge_counters(before.statistics, after.statistics, size, size, bounds)
    assert not problems, "; ".join(problems)
