"""Other places for what vendors publish: `mirrors.yaml` of an overlay folder. Only where bytes come from changes.

What is fetched must have the digest of the catalogue, wherever it comes from, so a mirror need not be trusted. A list of
checksums that is not signed is marked where it comes from a mirror: images.pinning makes no digest of the catalogue from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import unquote

from pydantic import AfterValidator

from images.forms import InstallEntry, PairEntry
from images.model import Checksums, MirroredChecksums, PublishedEntry, Strict
from images.words import ImageAddress
from matrix.document import Problem, read_items

_FILE = "mirrors.yaml"
_E = TypeVar("_E", bound=PublishedEntry | PairEntry | InstallEntry)


def _check_vendor(value: str) -> str:
    if not value.startswith(("http://", "https://")) or not value.endswith("/"):
        raise ValueError("must be the beginning of a vendor's addresses, http:// or https://, up to a '/'")
    return value


def _check_mirror(value: str) -> str:
    if not value.endswith("/"):
        raise ValueError("must be an address or a folder that ends in '/'")
    return value


class Mirror(Strict):
    """Addresses that begin with `vendor` are asked for at `mirror`: an address, or a folder (relative to the file)."""

    vendor: Annotated[ImageAddress, AfterValidator(_check_vendor)]
    mirror: Annotated[ImageAddress, AfterValidator(_check_mirror)]


class Mirrors:
    """All mirrors; of several that fit an address the longest beginning counts, and the later of two equal ones."""

    def __init__(self, mirrors: Sequence[Mirror] = ()) -> None:
        self._by_vendor = {each.vendor: each.mirror for each in mirrors}

    def address(self, url: str) -> str:
        """Where to ask for what is published at `url`."""
        fitting = [vendor for vendor in self._by_vendor if url.startswith(vendor)]
        if not fitting:
            return url
        vendor = max(fitting, key=len)
        rest = url.removeprefix(vendor)
        # An entry is no way out of a mirror's folder, also where a file:// address is still to be decoded.
        return url if ".." in unquote(rest).split("/") else self._by_vendor[vendor] + rest

    def applied(self, entry: _E) -> _E:
        """The entry with every address that it names where its mirror has it."""
        if isinstance(entry, InstallEntry):
            return entry.with_addresses(self.address)
        if isinstance(entry, PairEntry):
            kernel, initrd = (
                file.model_copy(update={"url": self.address(file.url)}) for file in (entry.kernel, entry.initrd)
            )
            return entry.model_copy(update={"kernel": kernel, "initrd": initrd})
        lists = None if entry.checksums is None else self._applied_to_list(entry.checksums)
        return entry.model_copy(update={"url": self.address(entry.url), "checksums": lists})

    def _applied_to_list(self, lists: Checksums) -> Checksums:
        signature = lists.signature
        if signature is not None and signature.url is not None:
            signature = signature.model_copy(update={"url": self.address(signature.url)})
        url = self.address(lists.url)
        if url == lists.url:
            return lists.model_copy(update={"signature": signature})
        # Not validated again: a mirror's folder may have a name that no catalogue may write.
        return MirroredChecksums.model_construct(
            url=url, style=lists.style, file=lists.file, signature=signature, vendor_url=lists.url
        )


def load_mirrors(overlays: Sequence[Path], problems: list[Problem]) -> Mirrors:
    """The mirrors of all overlay folders."""
    found: list[Mirror] = []
    for overlay in overlays:
        path = overlay / _FILE
        if not path.exists():
            continue
        reading = read_items(path, "mirrors", Mirror)
        problems.extend(reading.problems)
        for document in reading.documents:
            each = document.value
            if "://" not in each.mirror:
                folder = (overlay / each.mirror).resolve()
                each = each.model_copy(update={"mirror": f"{folder}/"})
            found.append(each)
    return Mirrors(found)
