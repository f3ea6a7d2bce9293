"""What a pytest node is in guestcert's words, and the permanent ids under which Allure keeps its history."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeKey:
    """One probe in one cell; `cell` is None for a test that is not parametrised over cells.

    `variant` is what further parametrisation left in the node id, None without any.
    """

    cell: str | None
    probe: str
    variant: str | None = None


class NodeNames:
    """Reads node ids; needs the planned cell ids because `-` both joins pytest's parameters and occurs in cell ids."""

    def __init__(self, cells: Iterable[str]) -> None:
        self._cells = frozenset(cells)

    def key(self, node: str) -> ProbeKey:
        """The key of a node id such as `suites/boot/test_cold.py::test_cold_boot[debian-12+qemu-tcg+none]`."""
        path, _, function = node.partition("::")
        function, bracket, parameters = function.rpartition("::")[2].partition("[")
        folders = path.replace("\\", "/").split("/")
        area = folders[-2] if len(folders) > 1 else folders[-1].removesuffix(".py")
        probe = f"{area}/{function.removeprefix('test_')}"
        if not bracket:
            return ProbeKey(None, probe)
        cell, variant = self._split(parameters.removesuffix("]"))
        return ProbeKey(cell, probe, variant)

    def _split(self, parameters: str) -> tuple[str | None, str | None]:
        if parameters in self._cells:
            return parameters, None
        pieces = parameters.split("-")
        # The longest planned cell id wins: `debian-12+kvm+svm` must not be found inside another's id.
        for length in range(len(pieces) - 1, 0, -1):
            for start in range(len(pieces) - length + 1):
                cell = "-".join(pieces[start : start + length])
                if cell in self._cells:
                    return cell, "-".join(pieces[:start] + pieces[start + length :])
        return None, parameters or None


def _digest(*parts: str) -> str:
    # md5 because Allure's ids are md5 by convention; nothing secret hangs on them.
    return hashlib.md5("\n".join(parts).encode(), usedforsecurity=False).hexdigest()


def probe_digest(probe: str) -> str:
    """Allure's id of a probe in all cells: independent of file, checkout and worker."""
    return _digest("guestcert", probe)


def history_id(key: ProbeKey) -> str:
    """Allure's id of a probe in its cell."""
    return _digest("guestcert", key.probe, key.cell or "", key.variant or "")


def label_value(text: str) -> str:
    """`text` without what Allure takes for structure in ids and parameters (`::`, `@`, `/`)."""
    return text.replace("::", ".").replace("@", " at ").replace("/", ".")
