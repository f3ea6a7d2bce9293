"""What vendors say is supported, and where they say it. A claim is no verdict: only a run's evidence is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from matrix.glob import any_pattern
from matrix.strict import Identified, Strict
from matrix.words import Globs, Id, PartialDay, Text, Uri

Statement = Literal[
    "certified",
    "supported",
    "compatible",
    "limited",
    "tech-preview",
    "experimental",
    "announced",
    "legacy",
    "not-ready",
    "uncertified",
    "unsupported",
]
"""The vendors' own words, one for each thing that they say."""


class Source(Identified):
    """Where claims were read. `published` is as exact as the source is; `first_party`: the vendor's own page."""

    title: Text
    url: Uri
    published: PartialDay | None = None
    first_party: bool


class Says(Strict):
    """The claim as it was read: guest and hypervisor as the vendor names them, products of which we may have no row."""

    guest: Text
    hypervisor: Text
    statement: Statement
    qualifier: Text | None = None
    source: Id


class About(Strict):
    """Which rows of ours a claim speaks of, by globs over ids. Without `guest` it speaks of no guest of ours in particular."""

    guest: Globs = ()
    hypervisor: Globs = Field(min_length=1)
    extension: Globs = ()


class Claim(Identified):
    """What a vendor says of a guest on a hypervisor."""

    says: Says
    about: About


def claims_about(claims: Iterable[Claim], guest: str, hypervisor: str, extension: str) -> list[Claim]:
    """The claims that speak of a cell, by the ids of its axes, in the order of the data."""
    return [
        claim
        for claim in claims
        if _named(claim.about.guest, guest)
        and _named(claim.about.hypervisor, hypervisor)
        and (not claim.about.extension or _named(claim.about.extension, extension))
    ]


def _named(globs: tuple[str, ...], name: str) -> bool:
    return bool(globs) and any_pattern(globs).match(name) is not None
