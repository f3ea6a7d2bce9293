"""Measures hosts for a command, with the image store that lab hosts need, and says on stderr what goes on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console

from matrix.model import HostSpec, Matrix, MeasuredHost


def surveyed(data: Matrix, specs: Sequence[HostSpec], overlays: Sequence[Path]) -> tuple[list[MeasuredHost], list[str]]:
    """What the hosts can do, and a line for each that could not be measured."""
    from fixtures.images_by_name import images_by_name  # noqa: PLC0415 -- loads the image room
    from fixtures.survey import survey  # noqa: PLC0415 -- loads libvirt, which listing and lint do without
    from images import Store, load_catalogue  # noqa: PLC0415 -- the same
    from images.progress import reporter_for  # noqa: PLC0415 -- the same
    from matrix.places import cache_dir  # noqa: PLC0415 -- the same

    reporter = reporter_for(Console(stderr=True, markup=False, emoji=False, highlight=False))
    with closing(Store(cache_dir())) as store:
        return survey(specs, data, images_by_name(load_catalogue(overlays), store, reporter), reporter.say)
