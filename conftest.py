"""Names the plugins of the rooms, so that `pytest` in this checkout is `guestcert run`."""

from cli.plugins import PLUGINS

pytest_plugins = list(PLUGINS)
