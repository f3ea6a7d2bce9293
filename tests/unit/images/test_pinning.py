"""`images pin` end to end: lists signed with a throw-away key, served on the loopback by a server that misbehaves."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli.main import run
from images import ImageFault, UrlEntry, load_catalogue
from images.pinning import Pin, find_pin, write_pin
from matrix.mistakes import Mistakes

IMAGE = "acme-9-cloud.qcow2"
DIGEST = hashlib.sha256(b"the image").hexdigest()
DIGEST_512 = hashlib.sha512(b"the image").hexdigest()
GNU = f"{'1' * 64}  other.qcow2\n{DIGEST} *{IMAGE}\n{'2' * 64}  {IMAGE}.manifest\n"


class Signer:
    """A key of its own in a home of its own."""

    def __init__(self, home: Path, name: str, kind: str = "ed25519", options: tuple[str, ...] = ()) -> None:
        home.mkdir(mode=0o700)
        self._gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
        self._run(*options, "--quick-generate-key", f"{name} <{name}@example.org>", kind, "sign", "never")
        listing = self._run("--with-colons", "--list-keys").decode()
        self.fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
        self.armoured = self._run("--armor", "--export").decode()
        self._home = home

    def _run(self, *arguments: str, data: bytes = b"") -> bytes:
        return subprocess.run([*self._gpg, *arguments], input=data, capture_output=True, check=True).stdout

    def detached(self, data: bytes, *options: str) -> bytes:
        return self._run(*options, "--armor", "--detach-sign", data=data)

    def detached_packet(self, data: bytes) -> bytes:
        """As `detached`, but so that several can stand after each other."""
        return self._run("--detach-sign", data=data)

    def clearsigned(self, data: bytes) -> bytes:
        return self._run("--clear-sign", data=data)

    def end(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "gpg-agent"], check=False)


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Signer, Signer]]:
    """The vendor, and somebody else."""
    folder = tmp_path_factory.mktemp("g")
    made = Signer(folder / "a", "acme"), Signer(folder / "m", "mallory")
    yield made
    for each in made:
        each.end()


class Site:
    """Serves `files` by name; `fault` by name says what goes wrong instead."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.fault: dict[str, str] = {}
        self.over = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self, self.path.removeprefix("/"))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep the test's output clean."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._server.server_port}"

    def answer(self, request: http.server.BaseHTTPRequestHandler, name: str) -> None:
        fault = self.fault.get(name, "")
        if fault == "redirect loop" or name in self.redirects:
            request.send_response(302)
            request.send_header("Location", self.redirects.get(name, f"/{name}"))
            request.end_headers()
            return
        if name not in self.files:
            request.send_error(404)
            return
        body = self.files[name]
        if fault.startswith("dribbles"):
            # A byte now and then, for ever: first the header or the content, as told.
            request.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"" if fault.endswith("headers") else b"\r\n"))
            while not self.over.wait(0.02):
                try:
                    request.wfile.write(b"X")
                except OSError:
                    return
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(body) + (7 if fault == "wrong length" else 0)))
        request.end_headers()
        request.wfile.write(body)

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    """A web site on the loopback."""
    running = Site()
    yield running
    running.close()


@pytest.fixture
def overlay(tmp_path: Path, site: Site, signers: tuple[Signer, Signer]) -> Path:
    """An overlay with the vendor's key and an entry that has no digest yet and wants a detached signature."""
    vendor, _ = signers
    folder = tmp_path / "lab"
    (folder / "images/keys").mkdir(parents=True)
    (folder / "images/keys/acme.asc").write_text(vendor.armoured)
    key = {"file": "acme.asc", "owner": "Acme", "signs": "SUMS.gpg", "origin": "a test", "licence": "CC0-1.0"}
    listing = {"keys": [{**key, "fingerprints": [vendor.fingerprint]}]}
    (folder / "images/keys/keys.yaml").write_text(yaml.safe_dump(listing))
    site.files = {"SUMS": GNU.encode(), "SUMS.gpg": vendor.detached(GNU.encode())}
    write(folder, site, "style: gnu, signature: {kind: detached, url: SITE/SUMS.gpg, key: acme}")
    return folder


def write(overlay: Path, site: Site, checksums: str, more: str = "") -> Path:
    """Write the entry `acme-9`, whose list of checksums is SUMS."""
    path = overlay / "images/acme-9.yaml"
    path.write_text(
        f"# Acme's own words\nkind: url\nid: acme-9\nname: Acme 9\norigin: Acme  # who else\nurl: {site.url}/{IMAGE}\n{more}"
        f"checksums: {{url: {site.url}/SUMS, {checksums.replace('SITE', site.url)}}}\n"
    )
    return path


def pinned(overlay: Path, deadline: float = 30.0) -> tuple[str, str, str | None]:
    catalogue = load_catalogue([overlay])
    entry = catalogue["acme-9"]
    assert isinstance(entry, UrlEntry)
    pin = find_pin(entry, catalogue.vendor_keys, deadline)
    return pin.algorithm, pin.digest, pin.signer


def refusal(overlay: Path, deadline: float = 30.0) -> str:
    with pytest.raises(ImageFault) as caught:
        pinned(overlay, deadline)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("acme-9: ")
    return str(caught.value)


def test_a_signed_list_gives_the_digest_and_the_signer(overlay: Path, signers: tuple[Signer, Signer]) -> None:
    assert pinned(overlay) == ("sha256", DIGEST, signers[0].fingerprint)


def test_a_list_signed_in_clear_text(overlay: Path, site: Site, signers: tuple[Signer, Signer]) -> None:
    text = f"# {IMAGE}: 9 bytes\nSHA256 ({IMAGE}) = {DIGEST}\nSHA512 (other) = {'3' * 128}\n"
    site.files["SUMS"] = signers[0].clearsigned(text.encode())
    write(overlay, site, "style: bsd, signature: {kind: clearsigned, key: acme}")
    assert pinned(overlay) == ("sha256", DIGEST, signers[0].fingerprint)


def test_text_around_the_signed_part_does_not_count(overlay: Path, site: Site, signers: tuple[Signer, Signer]) -> None:
    signed = signers[0].clearsigned(b"SHA256 (other) = " + b"3" * 64 + b"\n")
    forged = f"SHA256 ({IMAGE}) = {DIGEST}\n".encode()
    site.files["SUMS"] = forged + signed + forged
    write(overlay, site, "style: bsd, signature: {kind: clearsigned, key: acme}")
    assert "has no bsd line" in refusal(overlay)


@pytest.mark.parametrize("style", ["gnu", "bsd", "bare", "json"])
def test_styles_of_lists(overlay: Path, site: Site, style: str) -> None:
    lists = {
        "gnu": f"{DIGEST_512}  ./{IMAGE}\n",
        "bsd": f"SHA512 ({IMAGE}) = {DIGEST_512.upper()}\n",
        "bare": f"{DIGEST_512}\n",
        # As Oracle's has it, and Fedora's: other digests of the same file, and digests of other files.
        "json": json.dumps(
            {
                "base_url": "https://[no address",
                "vagrant": {"image": "other.qcow2", "sha512": "3" * 128},
                "kvm": {
                    "image": f"https://acme.invalid/{IMAGE}",
                    "sha512": DIGEST_512,
                    "uncompressed-sha512": "4" * 128,
                },
            }
        ),
    }
    site.files["SUMS"] = lists[style].encode()
    write(overlay, site, f"style: {style}")
    assert pinned(overlay) == ("sha512", DIGEST_512, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            json.dumps({"kvm": {"image": "other.qcow2", "sha256": DIGEST}}),
            "has no json object for 'acme-9-cloud.qcow2'",
        ),
        (json.dumps({"image": IMAGE, "kvm": {"sha256": DIGEST}}), "has no json object"),
        (json.dumps({"image": IMAGE, "sha256": [DIGEST], "sha512": "none"}), "has no json object"),
        (
            json.dumps([{"image": IMAGE, "sha256": "1" * 64}, {"image": IMAGE, "sha256": "2" * 64}]),
            "2 different sha256",
        ),
        (json.dumps(f"{IMAGE} {DIGEST}"), "has no json object"),
        (GNU, "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("9" * 5000, "is not JSON"),
    ],
)
def test_json_that_does_not_name_one_digest(overlay: Path, site: Site, text: str, why: str) -> None:
    site.files["SUMS"] = text.encode()
    write(overlay, site, "style: json")
    assert why in refusal(overlay)


def through_a_mirror(overlay: Path, site: Site) -> None:
    """Let the site be the mirror of a vendor that nobody answers for."""
    path = overlay / "images/acme-9.yaml"
    path.write_text(path.read_text().replace(site.url, "https://acme.invalid"))
    (overlay / "mirrors.yaml").write_text(f"mirrors: [{{vendor: 'https://acme.invalid/', mirror: '{site.url}/'}}]\n")


def test_a_mirror_may_have_a_signed_list(overlay: Path, site: Site, signers: tuple[Signer, Signer]) -> None:
    through_a_mirror(overlay, site)
    assert pinned(overlay) == ("sha256", DIGEST, signers[0].fingerprint)
    assert run(["images", "pin", "acme-9", "--matrix", str(overlay)]) == 0
    assert f'digest_from: "{site.url}/SUMS, signed by' in (overlay / "images/acme-9.yaml").read_text()


def test_a_mirrors_list_that_nobody_signed_changes_no_entry(
    overlay: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(overlay, site, "style: gnu")
    through_a_mirror(overlay, site)
    before = path.read_text()
    assert run(["images", "pin", "acme-9", "--matrix", str(overlay)]) == 3
    assert "pin without mirrors.yaml, from https://acme.invalid/SUMS" in capsys.readouterr().err
    assert path.read_text() == before


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback that signs itself, and its key."""
    certified, key = folder / "tls.crt", folder / "tls.key"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
    ]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*argv, *names, "-keyout", key, "-out", certified], check=True, capture_output=True)
    return certified, key


@pytest.fixture
def secure_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """As `site`, by https."""
    certified, key = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certified))
    running = Site((certified, key))
    yield running
    running.close()


@pytest.mark.parametrize("back", [False, True])
def test_a_list_that_nobody_signed_is_not_fetched_in_the_clear(
    overlay: Path, site: Site, secure_site: Site, back: bool
) -> None:
    write(overlay, secure_site, "style: gnu")
    secure_site.files["list"] = site.files["list"] = GNU.encode()
    secure_site.redirects["SUMS"] = f"{site.url}/list"
    if back:
        site.redirects["list"] = f"{secure_site.url}/list"
    assert "leads through http:// to" in refusal(overlay)
    secure_site.redirects["SUMS"] = "/list"
    assert pinned(overlay) == ("sha256", DIGEST, None)


def test_a_pin_names_where_the_list_came_from(
    overlay: Path, site: Site, secure_site: Site, signers: tuple[Signer, Signer]
) -> None:
    write(overlay, secure_site, f"style: gnu, signature: {{kind: detached, url: {site.url}/SUMS.gpg, key: acme}}")
    secure_site.redirects["SUMS"] = f"{site.url}/SUMS"
    assert run(["images", "pin", "acme-9", "--matrix", str(overlay)]) == 0
    text = (overlay / "images/acme-9.yaml").read_text()
    assert f'digest_from: "{site.url}/SUMS, signed by {signers[0].fingerprint}' in text


def test_the_wrong_signature(overlay: Path, site: Site, signers: tuple[Signer, Signer]) -> None:
    vendor, other = signers
    site.files["SUMS.gpg"] = other.detached(GNU.encode())
    assert "not signed with the key acme" in refusal(overlay)
    site.files["SUMS.gpg"] = vendor.detached(GNU.replace(DIGEST, "f" * 64).encode())
    assert "the content is not what was signed" in refusal(overlay)
    site.files["SUMS.gpg"] = b"nothing like a signature"
    assert "not signed with the key acme" in refusal(overlay)
    del site.files["SUMS.gpg"]
    assert "404" in refusal(overlay)


def test_a_clear_text_that_is_not_signed_or_was_changed(
    overlay: Path, site: Site, signers: tuple[Signer, Signer]
) -> None:
    write(overlay, site, "style: gnu, signature: {kind: clearsigned, key: acme}")
    assert "not signed" in refusal(overlay)
    site.files["SUMS"] = signers[0].clearsigned(GNU.encode()).replace(DIGEST.encode(), b"f" * 64)
    assert "the content is not what was signed" in refusal(overlay)
    site.files["SUMS"] = signers[1].clearsigned(GNU.encode())
    assert "not signed" in refusal(overlay)


@pytest.mark.parametrize("first", [0, 1])
def test_others_may_have_signed_it_as_well(
    overlay: Path, site: Site, signers: tuple[Signer, Signer], first: int
) -> None:
    both = [each.detached_packet(GNU.encode()) for each in signers]
    site.files["SUMS.gpg"] = both[first] + both[1 - first]
    assert pinned(overlay) == ("sha256", DIGEST, signers[0].fingerprint)
    changed = GNU.replace(DIGEST, "f" * 64).encode()
    both[0] = signers[0].detached_packet(changed)
    site.files["SUMS.gpg"] = both[first] + both[1 - first]
    assert "the content is not what was signed" in refusal(overlay)
    both = [signers[1].detached_packet(GNU.encode())] * 2
    site.files["SUMS.gpg"] = b"".join(both)
    assert "it was made with another key" in refusal(overlay)


@pytest.mark.parametrize("first", [0, 1])
def test_a_good_signature_stands_for_its_own_text_only(
    overlay: Path, site: Site, signers: tuple[Signer, Signer], first: int
) -> None:
    write(overlay, site, "style: gnu, signature: {kind: clearsigned, key: acme}")
    texts = [signers[0].clearsigned(b"nothing\n"), signers[1].clearsigned(GNU.encode())]
    site.files["SUMS"] = texts[first] + texts[1 - first]
    assert "not signed with the key acme" in refusal(overlay)


def test_a_signature_that_can_be_forged(overlay: Path, site: Site, tmp_path: Path) -> None:
    # As Ubuntu's and openSUSE's keys, it was once bound to its name by SHA-1, which does not matter.
    old = Signer(tmp_path / "o", "old", "rsa2048", ("--cert-digest-algo", "SHA1"))
    (overlay / "images/keys/acme.asc").write_text(old.armoured)
    listing = yaml.safe_load((overlay / "images/keys/keys.yaml").read_text())
    listing["keys"][0]["fingerprints"] = [old.fingerprint]
    (overlay / "images/keys/keys.yaml").write_text(yaml.safe_dump(listing))
    site.files["SUMS.gpg"] = old.detached(GNU.encode())
    assert pinned(overlay) == ("sha256", DIGEST, old.fingerprint)
    site.files["SUMS.gpg"] = old.detached(GNU.encode(), "--digest-algo", "SHA1")
    old.end()
    assert "it was made with SHA-1, which can be forged" in refusal(overlay)


def test_a_key_with_another_fingerprint_than_recorded(overlay: Path, signers: tuple[Signer, Signer]) -> None:
    listing = overlay / "images/keys/keys.yaml"
    listing.write_text(listing.read_text().replace(signers[0].fingerprint, "A" * 40))
    assert "not signed with the key acme" in refusal(overlay)


def test_an_expired_key(overlay: Path, site: Site, tmp_path: Path) -> None:
    old = Signer(tmp_path / "o", "old")
    old._run(
        "--faked-system-time",
        "20200101T000000!",
        "--quick-generate-key",
        "past <p@example.org>",
        "ed25519",
        "sign",
        "1d",
    )
    options = ("--faked-system-time", "20200101T010000!", "--local-user", "past <p@example.org>")
    site.files["SUMS.gpg"] = old._run(*options, "--armor", "--detach-sign", data=GNU.encode())
    fingerprints = [
        line.split(":")[9]
        for line in old._run("--with-colons", "--list-keys").decode().splitlines()
        if line.startswith("fpr:")
    ]
    old.end()
    (overlay / "images/keys/acme.asc").write_text(old._run("--armor", "--export").decode())
    listing = yaml.safe_load((overlay / "images/keys/keys.yaml").read_text())
    listing["keys"][0]["fingerprints"] = fingerprints
    (overlay / "images/keys/keys.yaml").write_text(yaml.safe_dump(listing))
    assert "the key has expired" in refusal(overlay)


def test_lists_that_do_not_say_it(overlay: Path, site: Site) -> None:
    write(overlay, site, "style: gnu")
    site.files["SUMS"] = GNU.replace(f"*{IMAGE}", "*almost").encode()
    assert f"has no gnu line for '{IMAGE}'" in refusal(overlay)
    site.files["SUMS"] = GNU.encode() + f"{'a' * 64}  {IMAGE}\n".encode()
    assert "2 different sha256 digests" in refusal(overlay)
    site.files["SUMS"] = b"\xff\0" * 100
    assert "has no gnu line" in refusal(overlay)
    site.files["SUMS"] = b"a" * (5 * 1024**2)
    assert "more than" in refusal(overlay)


@pytest.mark.parametrize(
    ("fault", "message"),
    [("wrong length", "(?i)peer closed|ended"), ("redirect loop", "(?i)redirect"), ("dribbles headers", "is not here after 0.5 s"),
     ("dribbles", "is not here after 0.5 s")],
)  # fmt: skip
@pytest.mark.parametrize("name", ["SUMS", "SUMS.gpg"])
def test_a_site_that_misbehaves(overlay: Path, site: Site, name: str, fault: str, message: str) -> None:
    site.fault[name] = fault
    assert re.search(message, refusal(overlay, 0.5 if "dribbles" in fault else 30.0))


@pytest.mark.parametrize("to", ["http://localhost:99999/", "http://xn--/"])
def test_a_list_that_leads_nowhere_is_one_line(overlay: Path, site: Site, to: str) -> None:
    site.redirects["SUMS"] = to
    assert "no address that can be asked" in refusal(overlay)


def test_pin_writes_the_entry_and_shows_what_changed(
    overlay: Path, site: Site, signers: tuple[Signer, Signer], capsys: pytest.CaptureFixture[str]
) -> None:
    (overlay / "guests").mkdir()
    guest = 'id: acme-linux\nname: Acme\nvendor: Acme\nversion: "9"\nimage: acme-9\n'
    (overlay / "guests/acme-linux.yaml").write_text(guest)
    path = overlay / "images/acme-9.yaml"
    before = path.read_text()
    arguments = ["images", "pin", "acme-linux", "--matrix", str(overlay)]
    assert run([*arguments, "--print"]) == 0
    assert f"sha256 {DIGEST} (had none)" in capsys.readouterr().out
    assert path.read_text() == before
    assert run(arguments) == 0
    capsys.readouterr()
    after = path.read_text()
    assert [
        line for line in after.splitlines() if not line.startswith(("sha256:", "digest_from:"))
    ] == before.splitlines()
    entry = load_catalogue([overlay])["acme-9"]
    assert isinstance(entry, UrlEntry)
    assert entry.sha256 == DIGEST
    assert f"{site.url}/SUMS, signed by {signers[0].fingerprint}, read on 20" in entry.provenance
    assert run(arguments) == 0
    assert "(unchanged)" in capsys.readouterr().out
    newer = GNU.replace(DIGEST, "e" * 64).encode()
    site.files |= {"SUMS": newer, "SUMS.gpg": signers[0].detached(newer)}
    assert run(arguments) == 0
    assert f"sha256 {'e' * 64} (was {DIGEST})" in capsys.readouterr().out
    assert path.read_text().count("sha256:") == 1
    assert sorted(each.name for each in path.parent.iterdir()) == ["acme-9.yaml", "keys"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_a_pin_keeps_the_ends_of_lines(overlay: Path, end: str, last: bool) -> None:
    path = overlay / "images/acme-9.yaml"
    text = path.read_bytes().decode().replace("\n", end)
    path.write_bytes((text if last else text.removesuffix(end)).encode())
    for _ in range(2):
        write_pin(Pin("sha512", DIGEST_512, "https://example.org/SUMS", None), path, path)
        written = path.read_bytes().decode()
        kept = [line for line in written.split(end) if not line.startswith(("sha512:", "digest_from:"))]
        assert end.join(kept) == text
        assert written.count("\n") == written.count(end) == text.count(end) + 2


def test_a_pin_can_be_laid_over_the_entry_it_is_for(overlay: Path, tmp_path: Path) -> None:
    source, target = overlay / "images/acme-9.yaml", tmp_path / "other/images/acme-9.yaml"
    before = source.read_text()
    write_pin(Pin("sha512", DIGEST_512, "https://example.org/SUMS", None), source, target)
    assert source.read_text() == before
    entry = load_catalogue([overlay, tmp_path / "other"])["acme-9"]
    assert isinstance(entry, UrlEntry)
    assert (entry.sha512, entry.sha256) == (DIGEST_512, None)


def test_pin_writes_into_the_folder_that_holds_the_entry(overlay: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "images").mkdir(parents=True)
    before = (overlay / "images/acme-9.yaml").read_text()
    assert run(["images", "pin", "acme-9", "--matrix", str(overlay), "--matrix", str(mine)]) == 0
    assert (overlay / "images/acme-9.yaml").read_text() != before
    assert list((mine / "images").iterdir()) == []


def test_an_entry_that_cannot_be_changed_line_by_line_is_left_alone(
    overlay: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    path = overlay / "images/acme-9.yaml"
    text = "{kind: url, id: acme-9, name: Acme, origin: Acme, url: U/I,\nchecksums: {url: U/SUMS, style: gnu}}\n"
    path.write_text(text.replace("U/", f"{site.url}/").replace("/I,", f"/{IMAGE},"))
    before = path.read_text()
    assert run(["images", "pin", "acme-9", "--matrix", str(overlay)]) == 3
    assert f"put in by hand sha256: {DIGEST}" in capsys.readouterr().err
    assert path.read_text() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["acme-9.yaml", "keys"]


def test_an_image_without_a_digest_is_not_used(
    overlay: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GUESTCERT_CACHE_DIR", str(cache))
    assert run(["images", "fetch", "acme-9", "--matrix", str(overlay)]) == 3
    assert "guestcert images pin acme-9" in capsys.readouterr().err
    assert run(["images", "list", "--matrix", str(overlay)]) == 0


@pytest.mark.parametrize(
    ("checksums", "message"),
    [
        ("style: gnu, signature: {kind: detached, key: acme}", "a detached signature needs one"),
        ("style: gnu, signature: {kind: clearsigned, url: SITE/x, key: acme}", "a clearsigned list has none"),
        ("style: gnu, signature: {kind: clearsigned, key: acm}", "unknown key 'acm', did you mean 'acme'"),
        ("style: md5", "must be 'gnu', 'bsd', 'bare' or 'json'"),
        ("style: gnu, file: ../x", "must be a file's name"),
    ],
)
def test_mistakes_in_an_entry_are_named(overlay: Path, site: Site, checksums: str, message: str) -> None:
    path = write(overlay, site, checksums)
    with pytest.raises(Mistakes, match=message) as caught:
        load_catalogue([overlay])
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["debian-12", "nobody", "../acme-9"])
def test_what_cannot_be_pinned_is_one_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(["images", "pin", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_shipped_keys_can_be_read_by_gpgv(tmp_path: Path) -> None:
    from images.vendor_keys import _without_armour

    for key in load_catalogue().vendor_keys.values():
        ring = tmp_path / f"{key.name}.gpg"
        ring.write_bytes(_without_armour(key))
        argv = ["gpg", "--homedir", str(tmp_path), "--batch", "--with-colons", "--show-keys", str(ring)]
        listing = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        primary = [listing[at + 1].split(":")[9] for at, line in enumerate(listing) if line.startswith("pub:")]
        assert tuple(primary) == key.fingerprints
