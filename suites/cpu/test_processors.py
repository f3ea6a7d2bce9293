"""Does the guest have the processors it was given?"""

from __future__ import annotations

import pytest

from fixtures.guest import Guest
from suites.reading.batch import read_files
from suites.reading.questions import ask, questions_for
from suites.reading.sysfs import TOPOLOGY_FILES, Topology, parse_topology


def test_vcpu_count(guest: Guest) -> None:
    """All virtual CPUs are there and running.

    Preconditions: none.
    Steps: ask how many CPUs the kernel has online.
    Expected: as many as the domain was defined with.
    """
    question = questions_for(guest).vcpus
    online, text = ask(guest, "its processors", question)
    assert online == guest.definition.vcpus, (
        f"expected {guest.definition.vcpus} virtual CPUs online as defined, the guest has {online} "
        f"({question.script}: {text.strip()!r})"
    )


@pytest.mark.requires("linux")
def test_topology(guest: Guest) -> None:
    """The virtual CPUs are arranged as defined.

    Preconditions: the kernel shows a CPU topology.
    Steps: read package, die and core of each CPU.
    Expected: sockets, cores per socket and threads per core equal the domain's definition; where the hypervisor takes
    no topology, so that none is defined, they are whole numbers that hold all virtual CPUs.
    """
    files = read_files(guest, *TOPOLOGY_FILES)
    seen = parse_topology(files)
    if seen is None:
        pytest.skip("the guest's kernel shows no CPU topology")
    defined = guest.definition
    if not defined.topology_defined:
        assert seen.vcpus == defined.vcpus, (
            f"expected any arrangement of {defined.vcpus} virtual CPUs ({guest.cell.hypervisor.name} takes none), "
            f"the guest sees {seen.sockets} x {seen.cores or 'differing'} x {seen.threads or 'differing'}: {files}"
        )
        return
    expected = Topology(defined.sockets, defined.cores, defined.threads)
    assert seen == expected, (
        f"expected {expected.sockets} sockets x {expected.cores} cores x {expected.threads} threads as defined, "
        f"the guest sees {seen.sockets} x {seen.cores or 'differing'} x {seen.threads or 'differing'}: {files}"
    )
