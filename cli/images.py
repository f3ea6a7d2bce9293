"""`guestcert images`: what the guests are made of, and what of it is in the cache."""

from __future__ import annotations

import json
import shlex
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.image_listing import TITLES, kind_word, listing, size_text
from images import Catalogue, PublishedEntry, Source, Store, UserEntry, load_catalogue
from images.emulator import Emulator
from images.importing import import_image
from images.manifest import Manifest, absolute
from images.pinning import find_pin, write_pin
from images.programs import remove_unused
from images.progress import Reporter, reporter_for
from images.supplying import write_supplied
from matrix.load import layer_problem, load
from matrix.mistakes import Mistakes, Problem, unknown
from matrix.places import cache_dir
from matrix.words import check_id

app = typer.Typer(
    help="List, import, build, pin, supply, fetch, verify and prune guest images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[GUEST|IMAGE]...", help="Guests' ids, or images' (default: all that the cache holds)."),
]
Overlays = Annotated[list[Path] | None, typer.Option("--matrix", metavar="DIR", help="Lay DIR over the shipped data.")]
Anew = Annotated[bool, typer.Option("--anew", help="Make it again although the cache has it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DAMAGED = 1
_WIDE = 1000


@app.command("list")
def list_images(*, matrix: Overlays = None, as_json: AsJson = False) -> None:
    """List the images of the catalogue, and what the cache holds of them."""
    with _store() as store:
        rows = listing(load_catalogue(matrix or ()), load(matrix or ()).guests.values(), store)
    if as_json:
        _print(json.dumps([row.as_json() for row in rows], indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in TITLES:
        table.add_column(title, overflow="fold", justify="right" if title in {"size", "age"} else "left")
    for row in rows:
        table.add_row(*map(Text, row.cells()))
    # A file or pipe has no width that lines must be folded for.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


@app.command()
def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[GUEST|IMAGE]...",
            help="Guests' ids, or images' (default: the guests that a plain run takes).",
        ),
    ] = None,
    *,
    matrix: Overlays = None,
    anew: Anew = False,
) -> None:
    """Build images from their recipes, unless the cache has them."""
    _obtain(names or default_builds(matrix or ()), matrix, anew=anew, way="build")


def default_builds(overlays: Sequence[Path]) -> list[str]:
    """The images that a run without further words builds: what its guests boot, and no variants or lab hosts."""
    catalogue = load_catalogue(overlays)
    used = dict.fromkeys(guest.image for guest in load(overlays).guests.values() if guest.by_default)
    return [name for name in used if name in catalogue and _way(catalogue[name]) == "build"]


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="GUEST|IMAGE...", help="Guests' ids, or images'.")],
    *,
    matrix: Overlays = None,
    anew: Anew = False,
) -> None:
    """Fetch ready images by their digest, unless the cache has them."""
    _obtain(names, matrix, anew=anew, way="url")


@app.command()
def pin(
    name: Annotated[str, typer.Argument(metavar="GUEST|IMAGE", help="A guest's id, or an image's.")],
    *,
    matrix: Overlays = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the digest and change no file.")] = False,
) -> None:
    """Look up an image's digest in its vendor's list of checksums, check the list's signature, and write it down.

    Written is the entry in the --matrix folder that holds it; else a copy in the last such folder; else the entry itself.
    """
    catalogue = load_catalogue(matrix or ())
    (entry,) = _named(catalogue, [name], matrix)
    name = entry.id
    if not isinstance(entry, PublishedEntry):
        raise Mistakes([Problem("images", 0, name, "has no address; only an image by address has a digest to look up")])
    if entry.checksums is None:
        why = "is missing, so there is no vendor's list to look into; write sha256 or sha512 by hand"
        raise Mistakes([Problem(str(catalogue.files[name]), 0, "checksums", why)])
    found = find_pin(entry, catalogue.vendor_keys)
    before = entry.sha256 or entry.sha512
    change = "unchanged" if before == found.digest else f"was {before}" if before else "had none"
    signed = f"signed by {found.signer}" if found.signer else "not signed"
    _print(f"{name}: {found.algorithm} {found.digest} ({change}); {found.list_address}, {signed}")
    if not only_print:
        source = catalogue.files[name]
        own = any(source.is_relative_to(folder) for folder in matrix or ())
        target = source if own or not matrix else matrix[-1] / "images" / source.name
        write_pin(found, source, target)
        _print(f"{name}: written to {target}")


@app.command()
def supply(
    name: Annotated[str, typer.Argument(metavar="GUEST|IMAGE", help="A guest's id, or an image's.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The disk image, as its vendor gave it.")],
    *,
    matrix: Annotated[list[Path], typer.Option("--matrix", metavar="DIR", help="Write the entry below DIR.")],
) -> None:
    """Name the file of an image that has to be supplied. The file stays where it is until it is used."""
    _check_file(file)
    entry = _to_be_supplied(name, matrix)
    target = matrix[-1] / "images" / f"{entry.id}.yaml"
    digest = write_supplied(entry, file, target, _reporter())
    _print(f"{entry.id}: sha256 {digest}; compare it with what its vendor says")
    _print(f"{entry.id}: written to {target}")


def _to_be_supplied(name: str, matrix: Sequence[Path]) -> UserEntry:
    """The image `name`, or that of the guest `name`. Raises Mistakes."""
    below = matrix[:-1]  # the last one gets the entry, or has it from the last time
    try:
        (entry,) = _named(load_catalogue(below), [name], below)
    except Mistakes:
        if layer_problem(matrix[-1]):
            raise
        # An entry of one's own, which is in the folder already.
        (entry,) = _named(load_catalogue(matrix), [name], matrix)
    if not isinstance(entry, UserEntry):
        why = "needs no file, only an image of kind user does; another file is named by url and sha256 of its entry"
        raise Mistakes([Problem("images", 0, entry.id, why)])
    return entry


def _check_file(file: Path) -> None:
    """Raises Mistakes if `file` is no regular file."""
    try:
        wrong = "" if stat.S_ISREG(file.stat().st_mode) else "is not a regular file"
    except OSError as error:
        wrong = error.strerror or str(error)
    if wrong:
        raise Mistakes([Problem(str(file), 0, "", wrong)])


def _named(catalogue: Catalogue, names: Sequence[str], matrix: Sequence[Path] | None) -> list[Source]:
    """The images of these names, each an image's or a guest's, and each image once. Raises Mistakes."""
    guests = {} if all(name in catalogue for name in names) else load(matrix or ()).guests
    images = {name: name if name in catalogue or name not in guests else guests[name].image for name in names}
    problems = [
        Problem("images", 0, "", unknown("guest or image", name, sorted({*catalogue, *guests})))
        for name, image in images.items()
        if image not in catalogue
    ]
    if problems:
        raise Mistakes(problems)
    return [catalogue[image] for image in dict.fromkeys(images.values())]


@app.command()
def verify(names: Names = None, *, matrix: Overlays = None) -> None:
    """Read cached images in full and compare their digests; status 1 if one is damaged. Without names: every one."""
    catalogue, report, damaged = load_catalogue(matrix or ()), _reporter(), False
    with _store() as store:
        known = [(source.id, store.known(source)) for source in _named(catalogue, names or (), matrix)]
        for name, manifest in known if names else [(each.entry, each) for each in store.manifests()]:
            if manifest is None:
                _print(f"{name}: not in the cache")
                continue
            wrong = store.verify(manifest, report)
            damaged |= wrong is not None
            advice = f"damaged: {wrong}; the next use makes it again"
            _print(f"{name}: {advice if wrong else f'sound, sha256 {manifest.disk.sha256}'}")
    if damaged:
        raise typer.Exit(_DAMAGED)


@app.command()
def prune(
    *,
    matrix: Overlays = None,
    all_images: Annotated[
        bool, typer.Option("--all", help="Also images that the catalogue would build again.")
    ] = False,
    undescribed: Annotated[
        bool,
        typer.Option("--undescribed", help="Also images of --matrix folders that are not given."),
    ] = False,
    programs: Annotated[
        bool,
        typer.Option("--programs", help="Also QEMU and Bochs unpacked in the cache; the next use fetches today's."),
    ] = False,
    older_than: Annotated[int, typer.Option(min=0, metavar="DAYS", help="Only what is at least this old.")] = 0,
    down_to: Annotated[
        int | None, typer.Option(min=0, metavar="GIB", help="Then the oldest of all, until the rest takes no more.")
    ] = None,
) -> None:
    """Remove images that the catalogue no longer describes, and what killed runs left. Never what is in use.

    Images of --matrix folders that are not given stay: those may describe them.
    """
    catalogue = load_catalogue(matrix or ())
    with _store() as store:
        current = set() if all_images else {store.key_of(source) for source in catalogue.values()}
        manifests = sorted(store.manifests(), key=lambda manifest: manifest.created)
        stale = [each for each in manifests if each.key not in current and each.age_days() >= older_than]
        given = {absolute(folder) for folder in matrix or ()}
        spared = [] if all_images or undescribed else [each for each in stale if _of_another(each, given, catalogue)]
        freed = sum(_remove(store, manifest) for manifest in stale if manifest not in spared)
        if down_to is not None:
            left = [each for each in manifests if store.holds(each)]
            # Entries of the same bytes share them.
            total = sum({each.name: each.size for each in left}.values())
            for manifest in left:
                if total <= down_to * 1024**3:
                    break
                gone = _remove(store, manifest)
                freed, total = freed + gone, total - gone
        freed += store.sweep()
        for manifest in filter(store.holds, spared):
            folder = (
                f"--matrix {shlex.quote(manifest.folder)}" if manifest.folder else "the --matrix folder of its entry"
            )
            why = f"to remove it give {folder} if that no longer describes it, else --undescribed"
            _print(f"{manifest.entry}: kept {manifest.name[:12]} ({size_text(manifest.size)}); {why}")
    if programs:
        names, bytes_freed = remove_unused(cache_dir(), older_than)
        for name in names:
            _print(f"programs: removed {name}")
        freed += bytes_freed
    _print(f"{size_text(freed)} freed")


def _of_another(manifest: Manifest, given: Collection[str], catalogue: Catalogue) -> bool:
    """Whether an image was made for the entry of a folder that is not given, as far as anybody knows."""
    return manifest.folder not in given if manifest.folder else manifest.entry not in catalogue


def _remove(store: Store, manifest: Manifest) -> int:
    """Remove an image unless it is in use; bytes freed."""
    freed = store.remove(manifest)
    if freed is None:
        _print(f"{manifest.entry}: kept {manifest.name[:12]}, it is in use")
        return 0
    what = size_text(freed) if freed or not store.has_object(manifest) else "another entry has the same bytes"
    _print(f"{manifest.entry}: removed {manifest.name[:12]} ({what})")
    return freed


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A disk image in any form, also packed.")],
    *,
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="The id of the guest and of its image.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Write the entries below DIR, for --matrix.")] = Path(
        "lab"
    ),
) -> None:
    """Make a guest of a disk image by looking into it, without booting or mounting it. The file stays where it is."""
    try:
        check_id(name)
    except ValueError as error:
        raise Mistakes([Problem("images", 0, "--as", str(error))]) from error
    _check_file(file)
    with _store() as store, store.workspace("import") as work:
        made = import_image(file, name, to, work, _reporter())
    for line in made.lines:
        _print(line)
    for path in made.files:
        _print(f"written: {path}")
    _print(f"next: guestcert matrix lint --matrix {to}; guestcert run --matrix {to} --guest {name} --profile smoke")


def _obtain(names: Sequence[str], matrix: Sequence[Path] | None, *, anew: bool, way: str) -> None:
    report = _reporter()
    with _store() as store:
        for source in _named(load_catalogue(matrix or ()), names, matrix):
            if not isinstance(source, UserEntry) and _way(source) != way:
                what, other = (
                    ("fetched, not built", "fetch") if way == "build" else ("built here, not fetched", "build")
                )
                again = "".join(f" --matrix {shlex.quote(str(folder))}" for folder in matrix or ())
                use = f"is {what}; use: guestcert images {other} {source.id}{again}"
                raise Mistakes([Problem("images", 0, source.id, use)])
            image = store.obtain(source, report, anew=anew)
            _print(f"{image.id}: {image.digest} {image.disk}")


def _way(source: Source) -> str:
    """Whether an image is built, fetched or supplied: what is put together or installed here is built."""
    return {"busybox": "build", "rootfs": "build", "install": "build", "pair": "url"}.get(
        kind_word(source), kind_word(source)
    )


def _emulator() -> Emulator:
    from fixtures.emulator import installer_emulator  # noqa: PLC0415 -- only an installation needs to know

    return installer_emulator()


@contextmanager
def _store() -> Iterator[Store]:
    store = Store(cache_dir(), _emulator)
    try:
        yield store
    finally:
        store.close()


def _reporter() -> Reporter:
    return reporter_for(Console(stderr=True))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
