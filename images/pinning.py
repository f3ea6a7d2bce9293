"""Find the digest of an image in its vendor's list of checksums, whose signature is checked where there is one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from images.faults import ImageFault
from images.fetch import shown_address
from images.fetch_text import Fetched, fetch_small
from images.forms import ImageEntry
from images.model import Checksums, MirroredChecksums, PublishedEntry
from images.vendor_keys import TrustedKey, verify_clearsigned, verify_detached
from matrix.document import read_document

_HEX = r"([0-9A-Fa-f]{128}|[0-9A-Fa-f]{64})"
# coreutils: a backslash in front says that the name is escaped, which no image's name is.
_GNU = re.compile(_HEX + r" [ *](.+)")
_BSD = re.compile(r"SHA(?:256|512) ?\((.+)\) ?= " + _HEX)
_DIGEST = re.compile(_HEX)
_BARE = re.compile(_HEX + r"(?:\s+\*?\S+)?")
_PINNED = re.compile(r"(?:sha256|sha512|digest_from):")
_ALGORITHMS: dict[int, Literal["sha256", "sha512"]] = {64: "sha256", 128: "sha512"}


@dataclass(frozen=True)
class Pin:
    """A digest as the vendor's list has it; `signer` is the fingerprint of the key that signed the list.

    `list_address` is where the list came from in the end, after a mirror and redirects.
    """

    algorithm: Literal["sha256", "sha512"]
    digest: str
    list_address: str
    signer: str | None

    def source(self, today: date) -> str:
        """Where the digest comes from, for `digest_from`."""
        signed = f"signed by {self.signer}" if self.signer else "not signed"
        return f"{self.list_address}, {signed}, read on {today}"


def find_pin(entry: PublishedEntry, keys: Mapping[str, TrustedKey], deadline: float = 60.0) -> Pin:
    """Fetch the list of checksums of `entry`, check it, and find the image in it.

    Each file that is fetched must be here within `deadline` seconds. Raises ImageFault.
    """
    lists = entry.checksums
    if lists is None:
        raise ImageFault(f"{entry.id}: its entry names no list of checksums; write sha256 or sha512 by hand")
    fetched = fetch_small(entry.id, lists.url, deadline)
    content, signer = fetched.content, None
    signature = lists.signature
    if signature is None:
        _believe_unsigned(entry.id, lists, fetched)
    else:
        detached = fetch_small(entry.id, signature.url, deadline).content if signature.url else None
        try:
            if detached is None:
                content, signer = verify_clearsigned(content, keys[signature.key])
            else:
                signer = verify_detached(content, detached, keys[signature.key])
        except ImageFault as fault:
            raise ImageFault(f"{entry.id}: {shown_address(lists.url)}: {fault}") from fault
    name = lists.file or unquote(PurePosixPath(urlsplit(entry.url).path).name)
    where = f"{entry.id}: {shown_address(lists.url)}"
    try:
        found = _digests(content.decode("utf-8", "replace"), lists, name)
    except (ValueError, RecursionError) as error:
        raise ImageFault(f"{where}: is not JSON: {error}") from error
    if not found:
        raise ImageFault(f"{where}: has no {lists.style} {'object' if lists.style == 'json' else 'line'} for {name!r}")
    # The one that the entry has already, else the longest.
    have = "sha256" if entry.sha256 else "sha512" if entry.sha512 else None
    algorithm = have if have is not None and have in found else max(found)
    if len(found[algorithm]) > 1:
        raise ImageFault(f"{where}: has {len(found[algorithm])} different {algorithm} digests for {name!r}")
    (digest,) = found[algorithm]
    return Pin(_ALGORITHMS[len(digest)], digest, shown_address(fetched.address), signer)


def _believe_unsigned(name: str, lists: Checksums, fetched: Fetched) -> None:
    """Refuse a list that nobody signed where it did not come from its vendor, by the way that the entry says."""
    advice = "name the list's signature in the entry (checksums: signature), or"
    if isinstance(lists, MirroredChecksums):
        raise ImageFault(
            f"{name}: {shown_address(lists.url)}: is a list of checksums without a signature from a mirror, which anybody "
            f"may have written; {advice} pin without mirrors.yaml, from {shown_address(lists.vendor_url)}"
        )
    if fetched.in_the_clear:
        raise ImageFault(
            f"{name}: {shown_address(lists.url)}: leads through http:// to {shown_address(fetched.address)}, a list of checksums "
            f"without a signature that anybody on the way may have changed; {advice} an address that stays https://"
        )


def _digests(text: str, lists: Checksums, name: str) -> dict[str, set[str]]:
    """Digests for `name`, by algorithm. Raises ValueError and RecursionError for a `json` list that is none."""
    found: dict[str, set[str]] = {}
    for digest in _in_json(text, name) if lists.style == "json" else _in_lines(text, lists.style, name):
        found.setdefault(_ALGORITHMS[len(digest)], set()).add(digest.lower())
    return found


def _in_lines(text: str, style: str, name: str) -> Iterator[str]:
    for line in map(str.strip, text.splitlines()):
        if style == "gnu" and (match := _GNU.fullmatch(line)) and match[2].removeprefix("./") == name:
            yield match[1]
        elif style == "bsd" and (match := _BSD.fullmatch(line)) and match[1] == name:
            yield match[2]
        elif style == "bare" and (match := _BARE.fullmatch(line)):
            yield match[1]


def _in_json(text: str, name: str) -> list[str]:
    found: list[str] = []

    def look(each: dict[str, object]) -> None:
        values = {key: value for key, value in each.items() if isinstance(value, str)}
        if any(value == name or value.endswith(f"/{name}") for value in values.values()):
            found.extend(match[0] for key in _ALGORITHMS.values() if (match := _DIGEST.fullmatch(values.get(key, ""))))

    json.loads(text, object_hook=look)
    return found


def write_pin(pin: Pin, source: Path, target: Path) -> None:
    """Write the entry that stands in `source` with `pin` to `target` (which may be `source`), keeping everything else as it is.

    Raises ImageFault if the file cannot be written or is not of the plain form that can be changed line by line.
    """
    before = _only(source)
    if before is None:
        raise ImageFault(f"{source}: is not the entry of an image by address any more")
    fields = {pin.algorithm: pin.digest, "digest_from": pin.source(datetime.now(UTC).date())}
    wanted = before.model_copy(update={"sha256": None, "sha512": None} | fields)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial.yaml")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Bytes, so that its ends of lines stay as they are.
        partial.write_bytes(_with_fields(source.read_bytes().decode(), fields).encode())
        if _only(partial) != wanted:
            values = "; ".join(f"{name}: {value}" for name, value in fields.items())
            raise ImageFault(f"{source}: is not written one field a line; put in by hand {values}")
        partial.replace(target)
    except OSError as error:
        raise ImageFault(f"{target}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _only(path: Path) -> PublishedEntry | None:
    """The entry in a file as it stands there, or None if it cannot be read."""
    documents = read_document(path, ImageEntry).documents
    entry = documents[0].value if documents else None
    return entry if isinstance(entry, PublishedEntry) else None


def _with_fields(text: str, fields: Mapping[str, str]) -> str:
    """`text` with these fields after the line of its `url`, instead of those that were there."""
    kept: list[str] = []
    dropping = False
    end = "\r\n" if "\r\n" in text else "\n"
    for line in text.split(end):
        # What is indented belongs to the line before it.
        dropping = dropping if line[:1] in {" ", "\t"} else bool(_PINNED.match(line))
        if not dropping:
            kept.append(line)
    if kept[-1]:
        kept.append("")  # so that the last line has an end
    at = next((number for number, line in enumerate(kept, 1) if line.startswith("url:")), len(kept) - 1)
    # A JSON string is a YAML string.
    kept[at:at] = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return end.join(kept)
