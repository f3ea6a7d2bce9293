"""The vendors' OpenPGP keys in keys/, and what they say about a signed list of checksums.

Verification is gpgv's: it knows one keyring, trusts what is in it and nothing else, and talks to nobody.
"""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from images.command import find
from images.faults import ImageFault
from images.model import Strict
from images.words import KeyFile, KeyFingerprint, Some
from matrix.document import Problem, read_items
from matrix.words import Text

_SHIPPED = Path(__file__).resolve().parent / "keys"
_BLOCK = re.compile(r"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)
# gpg's doc/DETAILS: what is said of each signature begins with NEWSIG; of VALIDSIG the eighth field is the digest's algorithm
# and the last the primary key's fingerprint, whatever subkey signed.
_NEW = re.compile(r"^\[GNUPG:\] NEWSIG\b.*$", re.MULTILINE)
_VALID = re.compile(r"^\[GNUPG:\] VALIDSIG (?:\S+ ){7}(\d+) .*\b([0-9A-F]{40})$", re.MULTILINE)
# Only a signature that is good in every respect gives GOODSIG: an expired or revoked key gives another word.
_GOOD = re.compile(r"^\[GNUPG:\] GOODSIG ", re.MULTILINE)
_BAD = re.compile(r"^\[GNUPG:\] (EXPSIG|EXPKEYSIG|REVKEYSIG|BADSIG|ERRSIG)\b(?:.* (\d+) \S+$)?", re.MULTILINE)
_OTHER_KEY = "it was made with another key"
_MEANING = {
    "EXPSIG": "the signature has expired",
    "EXPKEYSIG": "the key has expired",
    "REVKEYSIG": "the key is revoked",
    "BADSIG": "the content is not what was signed",
    "ERRSIG": "gpgv does not know how it was made",
}
_NO_PUBLIC_KEY = "9"  # of ERRSIG: GPG_ERR_NO_PUBKEY
# Two texts after each other, or what is no text: gpgv may have written what nobody signed.
_CONFUSED = re.compile(r"^\[GNUPG:\] (?:ERROR|UNEXPECTED|NODATA|BADARMOR)\b", re.MULTILINE)
_WEAK = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}
"""Digests that signatures must not be made with (RFC 9580, 9.5).

gpgv's own --weak-digest also refuses keys that were once bound to their names by one, as Ubuntu's and openSUSE's are,
which matters to nobody who knows their fingerprints.
"""


class VendorKey(Strict):
    """An entry of keys.yaml: a file of armoured keys beside it, and where they come from."""

    file: KeyFile
    fingerprints: Annotated[tuple[KeyFingerprint, ...], Some]
    owner: Text
    signs: Text
    origin: Text
    licence: Text
    expires: Text | None = None


@dataclass(frozen=True)
class TrustedKey:
    """A key that a signature may be checked against."""

    name: str
    path: Path
    fingerprints: tuple[str, ...]


def load_keys(overlays: Sequence[Path], problems: list[Problem]) -> dict[str, TrustedKey]:
    """Shipped keys and those in `images/keys/` of overlays, by name (the file's without `.asc`)."""
    keys: dict[str, TrustedKey] = {}
    for folder in (_SHIPPED, *(overlay / "images" / "keys" for overlay in overlays)):
        if not (folder / "keys.yaml").exists():
            continue
        reading = read_items(folder / "keys.yaml", "keys", VendorKey)
        problems.extend(reading.problems)
        for document in reading.documents:
            key = document.value
            name = key.file.removesuffix(".asc")
            if not (folder / key.file).is_file():
                problems.append(
                    Problem(document.origin.file, document.origin.line("file"), "file", f"{key.file} is not beside it")
                )
            keys[name] = TrustedKey(name, folder / key.file, key.fingerprints)
    return keys


def verify_detached(content: bytes, signature: bytes, key: TrustedKey) -> str:
    """The fingerprint of the key that made `signature` of `content`. Raises ImageFault if `key` did not."""
    with tempfile.TemporaryDirectory(prefix="guestcert-") as name:
        folder = Path(name)
        (folder / "content").write_bytes(content)
        (folder / "signature").write_bytes(signature)
        return _gpgv(folder, key, ["--", str(folder / "signature"), str(folder / "content")])


def verify_clearsigned(document: bytes, key: TrustedKey) -> tuple[bytes, str]:
    """The text that was signed, without what stands around it, and the key's fingerprint. Raises ImageFault."""
    with tempfile.TemporaryDirectory(prefix="guestcert-") as name:
        folder = Path(name)
        (folder / "document").write_bytes(document)
        # What gpgv writes is what was signed; text before and after the signed part is not in it.
        signed = folder / "signed"
        signer = _gpgv(folder, key, ["--output", str(signed), "--", str(folder / "document")])
        return signed.read_bytes(), signer


def _gpgv(folder: Path, key: TrustedKey, arguments: Sequence[str]) -> str:
    keyring = folder / "keyring.gpg"
    keyring.write_bytes(_without_armour(key))
    options = ["--homedir", str(folder), "--keyring", str(keyring), "--status-fd", "1"]
    # In English and without escapes, and no longer than any list takes.
    done = subprocess.run(
        [find("gpgv"), *options, *arguments],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    failure = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] if done.returncode else ""
    judged = [_judged(each, key) for each in _NEW.split(said)[1:]]
    wrong = [each.wrong for each in judged if each.wrong is not None]
    signer = next((each.signer for each in judged if each.wrong is None), None)
    # Others may have signed it as well, and gpgv fails for a signature that it cannot check; it must fail for nothing else.
    if signer is None or _CONFUSED.search(said) or (failure and not wrong):
        telling = [each for each in wrong if each != _OTHER_KEY] or wrong
        why = telling[0] if telling and signer is None else failure or "there is no signature by it"
        raise ImageFault(f"not signed with the key {key.name} ({', '.join(key.fingerprints)}): {why}")
    return signer


@dataclass(frozen=True)
class _Judged:
    """One signature: whose it is, and what is wrong with it."""

    signer: str
    wrong: str | None


def _judged(said: str, key: TrustedKey) -> _Judged:
    """What gpgv said of one signature."""
    valid, bad = _VALID.search(said), _BAD.search(said)
    signer = valid[2] if valid else ""
    if bad is not None:
        return _Judged(signer, _OTHER_KEY if bad[2] == _NO_PUBLIC_KEY else _MEANING[bad[1]])
    if valid is None or not _GOOD.search(said) or signer not in key.fingerprints:
        return _Judged(signer, _OTHER_KEY)
    if valid[1] in _WEAK:
        return _Judged(
            signer, f"it was made with {_WEAK[valid[1]]}, which can be forged; ask its vendor for another one"
        )
    return _Judged(signer, None)


def _without_armour(key: TrustedKey) -> bytes:
    """The keys of a file as gpgv reads them (RFC 9580, 6.2); their checksums are not needed, their ids are known."""
    try:
        text = key.path.read_text(encoding="ascii")
        packets = b""
        for block in _BLOCK.findall(text.replace("\r", "")):
            # Headers such as "Comment:" end at the first empty line.
            body = (
                block.removeprefix("\n").partition("\n")[2] if block.startswith("\n\n") else block.partition("\n\n")[2]
            )
            packets += base64.b64decode("".join(line for line in body.split("\n") if not line.startswith("=")))
    except (OSError, UnicodeDecodeError, binascii.Error) as error:
        raise ImageFault(f"{key.path}: is not a file of armoured keys: {error}") from error
    return packets
