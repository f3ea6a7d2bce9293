"""What `guestcert images list` shows of each image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from images import Catalogue, PlannedBuild, RootfsEntry, Source, Store, UrlEntry, UserEntry
from images.manifest import Manifest
from matrix.model import GuestSpec

TITLES = ("image", "kind", "form", "size", "digest", "age", "end of life", "used by", "origin")


@dataclass(frozen=True)
class ImageRow:
    """One line: an image of the catalogue, or one that only the cache knows (not `current`)."""

    name: str
    kind: str
    form: str
    origin: str
    guests: tuple[str, ...]
    end_of_life: date | None
    manifest: Manifest | None
    current: bool

    @property
    def _ended(self) -> bool:
        return self.end_of_life is not None and self.end_of_life < datetime.now(UTC).date()

    def cells(self) -> tuple[str, ...]:
        """In the order of TITLES."""
        size, digest, age = "-", "not in the cache", "-"
        if self.manifest is not None:
            days = self.manifest.age_days()
            size, digest = size_text(self.manifest.size), self.manifest.name[:16]
            age = f"{days:.0f} d" if days >= 1 else f"{days * 24:.0f} h"
        end = "-" if self.end_of_life is None else f"{self.end_of_life}{' (past)' if self._ended else ''}"
        name = self.name if self.current else f"{self.name} (old)"
        return (name, self.kind, self.form, size, digest, age, end, ", ".join(self.guests) or "-", self.origin)

    def as_json(self) -> dict[str, object]:
        """The same for programs: sizes in bytes, digests whole."""
        manifest = self.manifest
        return {
            "id": self.name,
            "kind": self.kind,
            "form": self.form,
            "origin": self.origin,
            "guests": list(self.guests),
            "end_of_life": self.end_of_life.isoformat() if self.end_of_life else None,
            "ended": self._ended,
            "cached": manifest is not None,
            "current": self.current,
            "size": manifest.size if manifest else None,
            "sha256": manifest.name if manifest else None,
            "created": manifest.created.isoformat() if manifest else None,
            "adjustments": list(manifest.adjustments) if manifest else None,
            "kernel_from": manifest.kernel_from if manifest else None,
        }


def listing(catalogue: Catalogue, guests: Iterable[GuestSpec], store: Store) -> list[ImageRow]:
    """A row for every image of the catalogue, then for those that only the cache knows."""
    users: dict[str, list[GuestSpec]] = {}
    for guest in guests:
        users.setdefault(guest.image, []).append(guest)
    rows, seen = [], set()
    for source in catalogue.values():
        seen.add(store.key_of(source))
        of_it = users.get(source.id, [])
        origin = source.entry.origin if isinstance(source, PlannedBuild) else source.origin
        # Several guests of one image may differ (the same disk with other firmware): the first to end counts.
        ends = min((guest.end_of_life for guest in of_it if guest.end_of_life), default=None)
        names = tuple(sorted(guest.id for guest in of_it))
        known = store.known(source)
        rows.append(ImageRow(source.id, kind_word(source), form_text(source), origin, names, ends, known, current=True))
    rows += [
        ImageRow(old.entry, old.kind, old.format, old.origin, (), None, old, current=False)
        for old in store.manifests()
        if old.key not in seen
    ]
    return rows


def kind_word(source: Source) -> str:
    """The kind as the entry has it."""
    return "build" if isinstance(source, PlannedBuild) else source.kind


def form_text(source: Source) -> str:
    """In what form the bytes come: a disk's format and packing, or what it is put together from."""
    if isinstance(source, UrlEntry | UserEntry):
        return source.format if source.compression == "none" else f"{source.format}.{source.compression}"
    if isinstance(source, RootfsEntry):
        return "container image" if source.archive == "oci" else "root file system"
    forms = {
        "build": "packages",
        "busybox": "kernel + initrd",
        "pair": "kernel + initrd",
        "install": "installer",
    }
    return forms[kind_word(source)]


def size_text(size: int) -> str:
    """Bytes in MiB."""
    return f"{size / 1024**2:.0f} MiB"
