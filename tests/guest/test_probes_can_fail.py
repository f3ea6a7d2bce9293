"""Probes hold against guests that are really broken: a probe that cannot fail certifies nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import suites.agent.test_agent
import suites.boot.test_console
import suites.boot.test_restarts
import suites.storage.test_disks
from fixtures.checkpoint import CheckpointStore
from fixtures.definition import Definition
from fixtures.faults import GuestFault
from fixtures.guest import Guest, State
from fixtures.host import Host
from images import Store, load_catalogue
from matrix.expand import expand
from matrix.load import load
from matrix.model import HostSpec, Selection
from matrix.places import cache_dir
from suites.agent.test_agent import agent_bounds
from suites.agent.test_agent import test_ping as probe_ping
from suites.boot.bounds import boot_bounds
from suites.boot.test_console import test_console_speaks as probe_console_speaks
from suites.boot.test_health import test_kernel_log_clean as probe_kernel_log_clean
from suites.boot.test_health import test_units_healthy as probe_units_healthy
from suites.boot.test_restarts import test_acpi_shutdown as probe_acpi_shutdown
from suites.cpu.test_hypervisor import test_hypervisor_identified as probe_hypervisor_identified
from suites.cpu.test_processors import test_topology as probe_topology
from suites.cpu.test_processors import test_vcpu_count as probe_vcpu_count
from suites.lifecycle.test_interruptions import test_pause_resume as probe_pause_resume
from suites.lifecycle.test_interruptions import test_save_restore as probe_save_restore
from suites.memory.test_size import test_size_seen as probe_size_seen
from suites.network.test_cards import test_address as probe_address
from suites.network.test_cards import test_nic_seen as probe_nic_seen
from suites.provenance.test_identity import test_os_identity as probe_os_identity
from suites.provenance.test_identity import test_vendor_kernel as probe_vendor_kernel
from suites.storage.test_disks import test_disk_seen as probe_disk_seen
from suites.storage.test_disks import test_write_read_verify as probe_write_read_verify
from suites.time.test_clocksource import test_clocksource as probe_clocksource

Probe = Callable[..., None]


def attach(name: str, data: str | bytes | Path, mime: str = "text/plain") -> None:
    """Evidence is not the subject here."""


def step(title: str) -> AbstractContextManager[None]:
    """Nor are steps."""
    return nullcontext()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    host = Host.open(HostSpec(id="local", uri="qemu:///embed"))
    yield host
    host.close()


@pytest.fixture(scope="module")
def new_guest(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Guest]]:
    """Makes READY guests of debian-12, restored from a checkpoint; ends them all."""
    selection = Selection(guest=("debian-12",), hypervisor=("qemu-tcg",))
    (cell,) = expand(load(), selection, today=datetime.now(UTC).date())
    image = Store(cache_dir()).obtain(load_catalogue()[cell.guest.image])
    made: list[Guest] = []

    def make() -> Guest:
        folder = tmp_path_factory.mktemp("guest")
        guest = Guest(
            cell, host, image, folder, checkpoints=CheckpointStore(cache_dir() / "checkpoints"), run_id="test"
        )
        made.append(guest)
        guest.to(State.READY)
        return guest

    yield make
    for guest in made:
        guest.close()


@pytest.fixture(scope="module")
def shared(new_guest: Callable[[], Guest]) -> Guest:
    """A guest that every test puts back into order."""
    return new_guest()


@pytest.fixture
def own(new_guest: Callable[[], Guest]) -> Iterator[Guest]:
    """A guest for one test."""
    guest = new_guest()
    yield guest
    guest.close()


def shell(guest: Guest, script: str) -> None:
    guest.check(("sh", "-c", script))


VENDOR_KERNEL = "k=/boot/vmlinuz-$(uname -r)"

BREAKS: Mapping[str, tuple[Probe, bool, str, str, str]] = {
    "a CPU goes offline": (
        probe_vcpu_count,
        False,
        "echo 0 > /sys/devices/system/cpu/cpu1/online",
        "echo 1 > /sys/devices/system/cpu/cpu1/online",
        r"expected 2 virtual CPUs online as defined, the guest has 1",
    ),
    "a service fails": (
        probe_units_healthy,
        True,
        "systemd-run --quiet --unit=guestcert-broken --wait false || :",
        "systemctl reset-failed guestcert-broken",
        r"systemd reports guestcert-broken\.service",
    ),
    "another system's os-release": (
        probe_os_identity,
        True,
        "sed 's/^ID=.*/ID=other/' /etc/os-release > /run/other && mount --bind /run/other /etc/os-release",
        "umount /etc/os-release",
        r"expected ID=debian, the guest says ID=other",
    ),
    "a kernel image that was changed": (
        probe_vendor_kernel,
        True,
        f"{VENDOR_KERNEL}; cp $k /run/kernel && printf x >> /run/kernel && mount --bind /run/kernel $k",
        f"{VENDOR_KERNEL}; umount $k && rm /run/kernel",
        r"verification says .*FAILED",
    ),
    "no default route": (
        probe_address,
        True,
        "ip route show default > /run/route && ip route del default",
        "ip route add $(sed 's/ *$//' /run/route)",
        r"expected a default route",
    ),
    "an agent that is stopped": (
        probe_ping,
        False,
        "systemctl stop qemu-guest-agent",
        "systemctl start qemu-guest-agent",
        r"expected the guest agent to answer",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_guest_that_was_broken_fails_and_a_repaired_one_passes(
    what: str, shared: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = agent_bounds().model_copy(update={"answer_s": 1.0})
    probe, attaches, breaking, repairing, says = BREAKS[what]
    arguments = {"attach": attach} if attaches else {}
    shell(shared, breaking)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(suites.agent.test_agent, "agent_bounds", lambda: impatient)
            with pytest.raises((AssertionError, GuestFault), match=says):
                probe(shared, **arguments)
    finally:
        shell(shared, repairing)
    probe(shared, **arguments)


def with_other_disk(definition: Definition, **changes: object) -> Definition:
    return replace(definition, disks=(replace(definition.disks[0], **changes), *definition.disks[1:]))  # type: ignore[arg-type]


def with_other_nic(definition: Definition, **changes: str) -> Definition:
    return replace(definition, nics=(replace(definition.nics[0], **changes), *definition.nics[1:]))


OTHERWISE_DEFINED: Mapping[str, tuple[Probe, bool, Callable[[Definition], Definition], str]] = {
    "more CPUs": (probe_vcpu_count, False, lambda seen: replace(seen, sockets=seen.sockets + 1), "virtual CPUs online"),
    "other topology": (
        probe_topology,
        False,
        lambda seen: replace(seen, sockets=seen.cores, cores=seen.threads, threads=seen.sockets + 1),
        "as defined, the guest sees",
    ),
    "more memory": (
        probe_size_seen,
        True,
        lambda seen: replace(seen, memory_mib=seen.memory_mib * 2),
        "MemTotal of at least",
    ),
    "less memory": (
        probe_size_seen,
        True,
        lambda seen: replace(seen, memory_mib=seen.memory_mib // 2),
        "MemTotal of at most",
    ),
    "other serial": (
        probe_disk_seen,
        True,
        lambda seen: with_other_disk(seen, serial="another"),
        "with serial another",
    ),
    "larger disk": (
        probe_disk_seen,
        True,
        lambda seen: with_other_disk(seen, size_bytes=1 << 40),
        "of 1099511627776 bytes",
    ),
    "other disk driver": (probe_disk_seen, True, lambda seen: with_other_disk(seen, driver="nvme"), "driven by nvme"),
    "other MAC": (probe_nic_seen, True, lambda seen: with_other_nic(seen, mac="52:54:00:00:00:01"), "card with MAC"),
    "other card driver": (probe_nic_seen, True, lambda seen: with_other_nic(seen, driver="e1000"), "driven by e1000"),
}


@pytest.mark.parametrize("what", OTHERWISE_DEFINED)
def test_a_guest_that_is_not_as_defined_fails(what: str, shared: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    probe, attaches, changed, says = OTHERWISE_DEFINED[what]
    monkeypatch.setattr(shared, "definition", changed(shared.definition))
    with pytest.raises(AssertionError, match=says):
        probe(shared, **({"attach": attach} if attaches else {}))


def test_a_guest_on_another_hypervisor_fails(shared: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "cell", replace(shared.cell, hypervisor=load().hypervisors["xen-hvm"]))
    with pytest.raises(AssertionError, match=r"expected CPUID signature 'XenVMMXenVMM'.*'TCGTCGTCGTCG'"):
        probe_hypervisor_identified(shared, attach=attach)
    hypervisor = shared.cell.hypervisor.model_copy(update={"clocksources": ("xen",)})
    monkeypatch.setattr(shared, "cell", replace(shared.cell, hypervisor=hypervisor))
    with pytest.raises(AssertionError, match="expected a clock source out of xen, the current one is"):
        probe_clocksource(shared)


def test_a_console_that_went_silent_fails(shared: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = boot_bounds().model_copy(update={"console_s": 1.0})
    monkeypatch.setattr(suites.boot.test_console, "boot_bounds", lambda: bounds)
    shell(shared, "cat /proc/sys/kernel/printk > /run/printk && echo 1 > /proc/sys/kernel/printk")
    try:
        with pytest.raises(AssertionError, match="expected a kernel message written now"):
            probe_console_speaks(shared)
    finally:
        shell(shared, "cat /run/printk > /proc/sys/kernel/printk")
    monkeypatch.setattr(shared, "console_text", lambda: "")
    with pytest.raises(AssertionError, match="expected kernel messages on the first console"):
        probe_console_speaks(shared)


def test_a_kernel_that_complains_fails(own: Guest) -> None:
    probe_kernel_log_clean(own, attach=attach)
    shell(own, "echo 512 > /proc/sys/kernel/tainted")
    with pytest.raises(AssertionError, match="expected an untainted kernel, found kernel tainted: taint 9: warning"):
        probe_kernel_log_clean(own, attach=attach)
    shell(own, "echo '<4>WARNING: CPU: 0 PID: 1 at guestcert' > /dev/kmsg")
    with pytest.raises(AssertionError, match="expected a clean kernel log, found 1: warning: "):
        probe_kernel_log_clean(own, attach=attach)


def test_data_that_changed_while_the_guest_was_down_fails(own: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def flip_a_byte(guest: Guest) -> str:
        shell(guest, "printf guestcert | dd of=/var/tmp/guestcert-verified bs=1 seek=4097 conv=notrunc 2>/dev/null")
        return ""

    monkeypatch.setattr(suites.storage.test_disks, "reboot_from_inside", flip_a_byte)
    with pytest.raises(AssertionError, match=r"to have SHA-256 [0-9a-f]{64} after a reboot, got '[0-9a-f]{64}'"):
        probe_write_read_verify(own, step=step)


def test_a_pause_that_does_not_pause_fails(own: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "pause", lambda: None)
    monkeypatch.setattr(own, "resume", lambda: None)
    with pytest.raises((AssertionError, GuestFault), match="expected a paused guest to stand still, it ticked"):
        probe_pause_resume(own, step=step)


def test_a_clock_that_is_wrong_after_resume_fails(own: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    resume = own.resume

    def resume_with_wrong_clock() -> None:
        resume()
        shell(own, "date -s @1000000000 >/dev/null")

    monkeypatch.setattr(own, "resume", resume_with_wrong_clock)
    with pytest.raises(AssertionError, match="expected the guest's wall clock within"):
        probe_pause_resume(own, step=step)


def test_memory_that_changed_over_save_and_restore_fails(own: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def harm() -> None:
        shell(own, "printf guestcert | dd of=$(echo /dev/shm/guestcert-*/block) bs=1 seek=99 conv=notrunc 2>/dev/null")

    monkeypatch.setattr(own, "save_restore", harm)
    with pytest.raises(AssertionError, match="expected every checksum of the workload to be right"):
        probe_save_restore(own, step=step)


def test_a_guest_that_ignores_its_power_button_fails(own: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = boot_bounds().model_copy(update={"acpi_shutdown_s": 5.0})
    monkeypatch.setattr(suites.boot.test_restarts, "boot_bounds", lambda: bounds)
    shell(
        own,
        "systemctl stop systemd-logind.service systemd-logind-varlink.socket 2>/dev/null; systemctl mask --runtime --now systemd-logind",
    )
    with pytest.raises((AssertionError, GuestFault)):
        probe_acpi_shutdown(own, attach=attach, step=step)
