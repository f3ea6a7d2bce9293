"""This machine is fit for a small guest, and not for one that is larger than it."""

from __future__ import annotations

import psutil
import pytest

from fixtures.faults import HostFault
from fixtures.host import Host
from fixtures.host_health import check_health

_MIB = 1024**2


def test_what_linux_would_give_back_counts_as_free(host: Host) -> None:
    memory = psutil.virtual_memory()
    assert 0.8 * (memory.free + memory.cached) / _MIB <= host.connection.free_mib() <= memory.total / _MIB
    check_health(host, 16)
    with pytest.raises(HostFault, match="memory free, too little for a guest"):
        check_health(host, memory.total // _MIB)
