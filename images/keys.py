"""The key pairs of a cache: one to log into guests, one that guests prove themselves with. Never committed.

Both are made once per cache and put into an image when it is built (or into its first-boot seed), so the host key
is pinned before the first connection and nothing is trusted on first use.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from filelock import FileLock

from images.faults import ImageFault

_CLIENT, _HOST = "client_ed25519", "host_ed25519"


@dataclass(frozen=True)
class KeyPair:
    """A private key file in OpenSSH format (mode 0600) and its public half as `ssh-ed25519 AAAA...`, no comment."""

    private: Path
    public: str

    def private_text(self) -> str:
        """The private key in OpenSSH PEM, for injection as a guest's host key."""
        return self.private.read_text(encoding="ascii")


class IdentityKeys:
    """The `client` and `host` key pairs under `cache_dir/keys`, made when they are first asked for.

    Raises ImageFault if the folder cannot be written, or if a private key can be read by others.
    """

    def __init__(self, cache_dir: Path) -> None:
        self._folder = cache_dir / "keys"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Who only reads a cache need not be able to write to it; a key that is there is there as a whole.
            made = all((self._folder / name).exists() for name in (_CLIENT, _HOST))
            with nullcontext() if made else FileLock(self._folder / "lock"):
                self.client = self._pair(_CLIENT)
                self.host = self._pair(_HOST)
        except OSError as error:
            raise ImageFault(
                f"cannot keep keys in {self._folder}: {error.strerror or error}; check its permissions or set GUESTCERT_CACHE_DIR"
            ) from error

    def _pair(self, name: str) -> KeyPair:
        path = self._folder / name
        if not path.exists():
            self._generate(path)
        if path.stat().st_mode & 0o077:
            raise ImageFault(
                f"{path}: others may read this private key; remove it (images are then built anew) or run: chmod 600 {path}"
            )
        try:
            key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
        except TypeError as error:  # its word for a passphrase that is missing
            raise ImageFault(
                f"{path}: this private key has a passphrase, which nobody can be asked for; take it away: ssh-keygen -p -f {path}"
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ImageFault(
                f"{path}: not a private key ({error}); remove it and images are built anew with a fresh one"
            ) from error
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return KeyPair(private=path, public=public.decode("ascii"))

    @staticmethod
    def _generate(path: Path) -> None:
        text = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
