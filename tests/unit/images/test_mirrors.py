"""Mirrors: other addresses for the same bytes, from a server on the loopback and from a folder."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import pytest

from images import ImageFault, Store, UrlEntry, load_catalogue
from images.pinning import find_pin
from matrix.mistakes import Mistakes
from tests.unit.images.conftest import MisbehavingServer


@pytest.fixture
def overlay(tmp_path: Path, disk: Path) -> Path:
    """An overlay with an image that its vendor has at an address that nobody answers."""
    folder = tmp_path / "lab"
    (folder / "images").mkdir(parents=True)
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    (folder / "images/acme.yaml").write_text(
        "kind: url\nid: acme\nname: Acme\norigin: Acme\nurl: https://downloads.acme.invalid/9/disk.qcow2\n"
        f'sha256: "{digest}"\nchecksums: {{url: "https://downloads.acme.invalid/9/SHA256SUMS", style: gnu}}\n'
    )
    return folder


def mirrors(overlay: Path, *pairs: tuple[str, str]) -> UrlEntry:
    """The image, with these mirrors."""
    lines = "".join(f"  - {{vendor: {vendor!r}, mirror: {mirror!r}}}\n" for vendor, mirror in pairs)
    (overlay / "mirrors.yaml").write_text(f"mirrors:\n{lines}")
    entry = load_catalogue([overlay])["acme"]
    assert isinstance(entry, UrlEntry)
    return entry


def test_a_server_is_asked_instead_of_the_vendor(overlay: Path, server: MisbehavingServer, cache: Path) -> None:
    base = server.url.removesuffix("disk.qcow2")
    entry = mirrors(overlay, ("https://downloads.acme.invalid/9/", base))
    with closing(Store(cache)) as store:
        image = store.obtain(entry)
        assert store.key_of(entry) == store.key_of(mirrors(overlay, ("https://elsewhere.invalid/", base)))
    assert image.digest == f"sha256:{entry.sha256}"
    assert len(server.requests) == 1


_A, _B, _OTHER = "a" * 64, "b" * 64, "c" * 64
_MADE_OF_FILES = {
    "pair": f"kernel: {{url: https://acme.invalid/k, sha256: {_A}}}\ninitrd: {{url: https://acme.invalid/i, sha256: {_B}}}\n",
    "rootfs": f"url: https://acme.invalid/root.tar\nsha256: {_B}\n"
    "kernel: {suite: bookworm, package: linux-image-amd64, origin: Debian}\n",
}


@pytest.mark.parametrize("kind", sorted(_MADE_OF_FILES))
def test_a_mirror_makes_nothing_anew(overlay: Path, store: Store, kind: str) -> None:
    path = overlay / "images/box.yaml"
    path.write_text(f"kind: {kind}\nid: box\nname: Box\norigin: Acme\n{_MADE_OF_FILES[kind]}")
    before = load_catalogue([overlay])["box"]
    mirrors(overlay, ("https://acme.invalid/", "http://mirror.invalid/"))
    after = load_catalogue([overlay])["box"]
    assert after != before
    assert store.key_of(after) == store.key_of(before)
    path.write_text(path.read_text().replace(_B, _OTHER))
    assert store.key_of(load_catalogue([overlay])["box"]) != store.key_of(before)


def test_a_mirror_is_not_believed(overlay: Path, server: MisbehavingServer, cache: Path) -> None:
    server.body = b"something else" + server.body
    entry = mirrors(overlay, ("https://downloads.acme.invalid/9/", server.url.removesuffix("disk.qcow2")))
    with closing(Store(cache)) as store, pytest.raises(ImageFault, match="not used"):
        store.obtain(entry)


def test_a_folder_holds_everything_by_the_vendors_names(overlay: Path, disk: Path, cache: Path) -> None:
    place = overlay / "offline/downloads.acme.invalid/9"
    place.mkdir(parents=True)
    (place / "disk.qcow2").write_bytes(disk.read_bytes())
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    entry = mirrors(overlay, ("https://", "offline/"))
    with closing(Store(cache)) as store:
        assert store.obtain(entry).digest == f"sha256:{digest}"


@pytest.mark.parametrize("mirror", ["SERVER", "offline/"])
def test_no_digest_is_taken_from_a_mirrors_list_that_nobody_signed(
    overlay: Path, server: MisbehavingServer, mirror: str
) -> None:
    (overlay / "offline").mkdir()
    server.body = f"{'f' * 64}  disk.qcow2\n".encode()
    (overlay / "offline/SHA256SUMS").write_bytes(server.body)
    entry = mirrors(overlay, ("https://downloads.acme.invalid/9/", mirror.replace("SERVER", server.url[:-10])))
    with pytest.raises(ImageFault) as caught:
        find_pin(entry, {})
    assert "without a signature from a mirror" in str(caught.value)
    assert "pin without mirrors.yaml, from https://downloads.acme.invalid/9/SHA256SUMS" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_longest_beginning_counts_and_the_later_of_equals(overlay: Path) -> None:
    vendor = "https://downloads.acme.invalid/"
    entry = mirrors(
        overlay,
        (f"{vendor}9/", "http://one/"),
        (vendor, "http://two/"),
        ("https://", "/x/"),
        (f"{vendor}9/", "http://last/"),
    )
    assert entry.url == "http://last/disk.qcow2"


@pytest.mark.parametrize(
    ("vendor", "mirror", "said"),
    [
        ("downloads.acme.invalid/", "http://x/", "vendor: must be the beginning"),
        ("https://downloads.acme.invalid", "http://x/", "vendor: must be the beginning"),
        ("https://downloads.acme.invalid/", "http://x", "mirror: must be an address or a folder"),
        ("https://a b/", "http://x/", "without spaces"),
        ("https://[::1/", "http://x/", "vendor: must be an address whose host and port can be read: Invalid IPv6"),
        ("https://a/", "http://x:99999/", "mirror: must be an address whose host and port can be read: Port out of"),
    ],
)
def test_mistakes_are_named(overlay: Path, vendor: str, mirror: str, said: str) -> None:
    with pytest.raises(Mistakes) as caught:
        mirrors(overlay, (vendor, mirror))
    assert said in str(caught.value)
    assert f"{overlay}/mirrors.yaml:2: " in str(caught.value)


@pytest.mark.parametrize("mirror", ["offline/", "file:///srv/mirror/"])
@pytest.mark.parametrize(
    "way", ["9/../../../etc/passwd", "9/%2e%2e/%2E./.%2e/etc/passwd", "9/..%2f..%2f..%2Fetc/passwd"]
)
def test_no_entry_leads_out_of_a_folder(overlay: Path, mirror: str, way: str) -> None:
    path = overlay / "images/acme.yaml"
    path.write_text(path.read_text().replace("9/disk.qcow2", way))
    entry = mirrors(overlay, ("https://", mirror))
    assert entry.url.startswith("https://")
