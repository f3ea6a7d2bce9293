"""Does the guest survive that it goes to another host while it runs?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest

from fixtures.deadline import Deadline
from fixtures.guest import Guest
from fixtures.host import Host
from fixtures.observation import Direction
from suites.fixture_types import Attach, OpenStep, RecordMetric
from suites.lifecycle.standstill import judge_standstill, read_clock, standstill
from suites.lifecycle.workload import clock_offset_now, judge_workload, lifecycle_bounds, start_workload


@pytest.fixture
def migrated(
    migratable_guest: Guest, second_host: Host, step: OpenStep, metric: RecordMetric, attach: Attach
) -> Callable[[int, float, str], str | None]:
    """`migrated(kib, rest_s, suffix)`: have a guest migrate with a workload over `kib` KiB that rests in between; what is wrong then, None when nothing is.

    Metrics, in seconds, less is better, their names with `suffix`: `migration_downtime`, for how long the workload noted nothing, by
    the guest's clock and what that clock lost (`suites.lifecycle.standstill`), which is what counts; `migration_stop`, for how
    long the hypervisor says that no vCPU ran, where it says so; `migration_total`, what libvirt took.
    """
    guest, to, bounds = migratable_guest, second_host, lifecycle_bounds()
    patience = guest.host.patience

    def migrate(kib: int, rest_s: float, suffix: str) -> str | None:
        boot_id = guest.boot_id()
        with step("start the workload"):
            workload = start_workload(guest, kib=kib, rest_s=rest_s, on_console=False)
            before = workload.goes_on(0, Deadline.after(bounds.progress_s * patience))
            clock = read_clock(guest)
            left = guest.host.site.now  # by which the guest's clock was set; the other host's may differ
        with step(f"migrate from {guest.host.id} to {to.id}"):
            migration = guest.migrate(to)
        with step("look at it there"):
            offset = clock_offset_now(guest, left)
            after = workload.goes_on(before.rounds, Deadline.after(bounds.progress_s * patience))
            stood = standstill(workload.stamps(), clock, read_clock(guest))
        attach("migration.json", json.dumps(asdict(migration) | asdict(stood), indent=1), "application/json")
        metric(f"migration_downtime{suffix}", stood.downtime_s, "s", Direction.LOWER)
        metric(f"migration_total{suffix}", migration.total_s, "s", Direction.LOWER)
        if migration.stopped_s is not None:
            metric(f"migration_stop{suffix}", migration.stopped_s, "s", Direction.LOWER)
        if (problem := judge_workload(before, after)) is not None:
            return f"{problem}, after the migration; see the console log"
        if guest.boot_id() != boot_id:
            return "expected the same boot after the migration, the guest has rebooted"
        if abs(offset) > bounds.clock_s:
            return (
                f"expected the guest's wall clock within {bounds.clock_s:g} s of that of the host it left, "
                f"it is off by {offset:+.1f} s"
            )
        return judge_standstill(stood, bounds.downtime_s * patience)

    return migrate


@pytest.mark.requires("migration")
def test_live_migration(migrated: Callable[[int, float, str], str | None]) -> None:
    """A guest that migrates live goes on as if nothing had happened, but for a moment.

    Preconditions: a second host offers the same; the hypervisor migrates live.
    Steps: start a checksum workload over little memory; migrate.
    Expected: the same process goes on there without a wrong checksum; the same boot; its wall clock, which nobody set, agrees
    with that of the host it left; it stood still for less than the bound.
    """
    bounds = lifecycle_bounds()
    problem = migrated(bounds.light_kib, bounds.light_rest_s, "")
    assert problem is None, problem


@pytest.mark.requires("migration")
def test_migration_under_load(migrated: Callable[[int, float, str], str | None]) -> None:
    """A guest that writes to its memory all the while migrates live, too.

    Preconditions: a second host offers the same; the hypervisor migrates live.
    Steps: start a checksum workload that copies and checks much memory over and over; migrate.
    Expected: as of live_migration.
    """
    problem = migrated(lifecycle_bounds().load_kib, 0.0, "_under_load")
    assert problem is None, problem
