"""Globs over ids, answered as whole sets instead of one id at a time."""

from __future__ import annotations

import fnmatch
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

_META = re.compile(r"[*?\[]")


class Ids:
    """A fixed set of ids, sorted once, so that a glob costs what it finds and not what there is."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._sorted = sorted(ids)
        self._found: dict[str, frozenset[str]] = {}

    def matching(self, glob: str) -> frozenset[str]:
        """The ids that a case-sensitive glob (`*`, `?`, `[...]`) matches."""
        if glob not in self._found:
            self._found[glob] = self._search(glob)
        return self._found[glob]

    def any_of(self, globs: Iterable[str]) -> frozenset[str]:
        """The ids that at least one of `globs` matches."""
        return frozenset().union(*(self.matching(glob) for glob in globs))

    def _search(self, glob: str) -> frozenset[str]:
        meta = _META.search(glob)
        prefix = glob[: meta.start()] if meta else glob
        # What has the prefix lies together in sorted order; ids are ASCII, so U+10FFFF is beyond all of them.
        first, last = bisect_left(self._sorted, prefix), bisect_left(self._sorted, f"{prefix}\U0010ffff")
        candidates = self._sorted[first:last]
        if meta is None:
            return frozenset([glob]) & frozenset(candidates[:1])
        if glob == f"{prefix}*":
            return frozenset(candidates)
        match = re.compile(fnmatch.translate(glob)).match
        return frozenset(name for name in candidates if match(name))


def any_pattern(globs: Sequence[str]) -> re.Pattern[str]:
    """One pattern (use `match`) for what at least one of `globs` matches."""
    return re.compile("|".join(f"(?:{fnmatch.translate(glob)})" for glob in globs))
