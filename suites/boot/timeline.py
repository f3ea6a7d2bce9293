"""The phases of a boot."""

from __future__ import annotations

from dataclasses import asdict

from fixtures.boot_timeline import BootTimeline


def phases(timeline: BootTimeline) -> dict[str, float]:
    """Seconds by metric name ("boot_kernel") of the phases that exist and could be told."""
    return {
        f"boot_{field.removesuffix('_s')}": seconds
        for field, seconds in asdict(timeline).items()
        if field.endswith("_s") and seconds is not None
    }
