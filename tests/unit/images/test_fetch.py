"""Fetching over HTTP from a server that misbehaves, and from paths."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from images import ImageFault, Store
from tests.unit.images.conftest import MakeEntry, MisbehavingServer

MIB = 1024**2


def test_a_download_is_kept_only_with_its_digest(
    store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer
) -> None:
    image = store.obtain(entry_for(disk, url=server.url))
    assert image.disk.read_bytes() == disk.read_bytes()
    assert image.digest == f"sha256:{hashlib.sha256(disk.read_bytes()).hexdigest()}"


def test_sha512_is_as_good(store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer) -> None:
    digest = hashlib.sha512(disk.read_bytes()).hexdigest()
    image = store.obtain(entry_for(disk, url=server.url, sha256=None, sha512=digest))
    assert image.disk.read_bytes() == disk.read_bytes()
    with pytest.raises(ImageFault, match="sha512"):
        store.obtain(entry_for(disk, url=server.url, sha256=None, sha512="0" * 128))


def test_a_cut_download_goes_on_where_it_stopped(
    store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer
) -> None:
    server.fault = "truncates once"
    image = store.obtain(entry_for(disk, url=server.url))
    assert server.requests == ["", f"bytes={len(server.body) // 2}-"]
    assert image.disk.read_bytes() == server.body


def test_a_server_without_ranges_sends_it_all_again(
    store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer
) -> None:
    server.fault = "no ranges"
    assert store.obtain(entry_for(disk, url=server.url)).disk.read_bytes() == server.body
    assert len(server.requests) == 2


def test_an_interrupted_download_is_resumed_by_the_next_run(
    cache: Path, disk: Path, entry_for: MakeEntry, server: MisbehavingServer
) -> None:
    entry = entry_for(disk, url=server.url)
    server.fault = "truncates"
    with pytest.raises(ImageFault, match="the next try goes on"):
        Store(cache).obtain(entry)
    kept = next((cache / "images/partial").glob("*.part")).stat().st_size
    assert kept > 0
    server.fault, server.requests = "", []
    assert Store(cache).obtain(entry).disk.read_bytes() == server.body
    assert server.requests == [f"bytes={kept}-"]


@pytest.mark.parametrize(
    "case",
    [("absurd length", "announces"), ("redirect loop", "redirect"), ("missing", "404")],
    ids=lambda case: case[0],
)
def test_a_misbehaving_server_is_one_line_and_leaves_no_image(
    cache: Path, disk: Path, entry_for: MakeEntry, server: MisbehavingServer, case: tuple[str, str]
) -> None:
    server.fault, message = case
    with pytest.raises(ImageFault, match=f"(?i){message}") as caught:
        Store(cache).obtain(entry_for(disk, url=server.url))
    assert "\n" not in str(caught.value)
    assert list((cache / "images/objects").iterdir()) == []
    assert list((cache / "images/work").iterdir()) == []


def test_a_length_that_is_wrong_is_overruled_by_the_digest(
    store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer
) -> None:
    server.fault = "announces more"
    assert store.obtain(entry_for(disk, url=server.url)).disk.read_bytes() == server.body


def test_a_length_that_is_too_small_is_no_image(
    store: Store, cache: Path, disk: Path, entry_for: MakeEntry, server: MisbehavingServer
) -> None:
    server.fault = "announces less"
    with pytest.raises(ImageFault, match="the catalogue says") as caught:
        store.obtain(entry_for(disk, url=server.url))
    assert "\n" not in str(caught.value)
    assert list((cache / "images/objects").iterdir()) == []


def test_another_range_than_asked_for_is_refused(
    store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer
) -> None:
    entry = entry_for(disk, url=server.url)
    server.fault = "truncates"
    with pytest.raises(ImageFault):
        store.obtain(entry)
    server.fault = "another range"
    with pytest.raises(ImageFault, match="another range"):
        store.obtain(entry)


def test_wrong_bytes_are_not_used_and_not_resumed(
    store: Store, cache: Path, disk: Path, entry_for: MakeEntry, server: MisbehavingServer
) -> None:
    with pytest.raises(ImageFault, match="the catalogue says 0000"):
        store.obtain(entry_for(disk, url=server.url, sha256="0" * 64))
    assert list((cache / "images/partial").iterdir()) == []
    assert list((cache / "images/objects").iterdir()) == []


def test_a_server_that_dribbles_is_left(
    store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.fetch._MINUTE", 0.2)
    server.fault = "dribbles"
    with pytest.raises(ImageFault, match=r"the server sent \d+ bytes in 0\.2 s"):
        store.obtain(entry_for(disk, url=server.url))
    assert len(server.requests) == 1


def test_a_server_that_dribbles_its_header_is_left(
    store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.fetch._MINUTE", 0.3)
    server.fault = "dribbles its header"
    with pytest.raises(ImageFault, match=r"the server did not begin to send within 0\.3 s"):
        store.obtain(entry_for(disk, url=server.url))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "case",
    [
        ("redirect http://localhost:99999/", "no address that can be asked: .*0-65535"),
        ("redirect http://xn--/", "no address that can be asked: Malformed"),
        ("redirect http://[::1", "Invalid URL in location header"),
        ("redirect file:///etc/passwd", "unsupported protocol"),
        ("no range at all", "the server answered 416"),
    ],
)
def test_an_answer_that_leads_nowhere_is_one_line(
    store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer, case: tuple[str, str]
) -> None:
    server.fault, said = case
    with pytest.raises(ImageFault, match=said) as caught:
        store.obtain(entry_for(disk, url=server.url))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "case",
    [
        ("ALL_PROXY", "socks5://x:1", "needs the Python package socksio: install it, or unset ALL_PROXY"),
        ("HTTP_PROXY", "ftp://user:geheim@x", "proxy is not understood: .*; correct or unset HTTP_PROXY"),
        ("HTTP_PROXY", "garbage.invalid", "if that is this machine's proxy, correct or unset HTTP_PROXY"),
        ("HTTP_PROXY", "http://localhost:99999", "if that is this machine's proxy, correct or unset HTTP_PROXY"),
    ],
)
def test_a_proxy_that_is_none_is_named(
    store: Store, disk: Path, entry_for: MakeEntry, monkeypatch: pytest.MonkeyPatch, case: tuple[str, str, str]
) -> None:
    variable, proxy, said = case
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(ImageFault, match=said) as caught:
        store.obtain(entry_for(disk, url="http://acme.invalid/disk.qcow2"))
    assert "\n" not in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_password_in_the_address_is_not_printed(
    store: Store, disk: Path, entry_for: MakeEntry, server: MisbehavingServer
) -> None:
    server.fault = "missing"
    with pytest.raises(ImageFault) as caught:
        store.obtain(entry_for(disk, url=server.url.replace("http://", "http://user:geheim@") + "?token=geheim"))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["/nonexistent/disk.qcow2", "/dev/zero", "file://localhost/dev/zero"])
def test_what_cannot_be_fetched_is_one_line(store: Store, disk: Path, entry_for: MakeEntry, url: str) -> None:
    with pytest.raises(ImageFault) as caught:
        store.obtain(entry_for(disk, url=url))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("size", "pieces"), [(64, ()), (64, (0,)), (64, (3, 40, 63)), (0.1, (0,))])
def test_a_sparse_disk_stays_sparse(
    store: Store, tmp_path: Path, entry_for: MakeEntry, size: float, pieces: tuple[int, ...]
) -> None:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        for piece in pieces:
            file.seek(piece * MIB)
            file.write(bytes(range(256)) * 256)
        file.truncate(int(size * MIB))
    image = store.obtain(entry_for(path, format="raw"))
    assert image.disk.read_bytes() == path.read_bytes()
    assert image.disk.stat().st_blocks <= path.stat().st_blocks + 8


def test_a_file_address_with_escapes_is_a_path(store: Store, disk: Path, entry_for: MakeEntry) -> None:
    spaced = disk.rename(disk.with_name("with space.qcow2"))
    assert store.obtain(entry_for(spaced, url=spaced.as_uri())).disk.is_file()
