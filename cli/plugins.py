"""The pytest plugins that make up guestcert."""

from __future__ import annotations

PLUGINS = (
    "fixtures.options",
    "fixtures.selection",
    "fixtures.scheduling",
    "fixtures.recording",
    "fixtures.plugin",
    "reports.plugin",
)
