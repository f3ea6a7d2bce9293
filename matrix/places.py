"""Where guestcert keeps its own files outside the checkout and the run folder."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The per-user cache (images, keys, checkpoints); `GUESTCERT_CACHE_DIR` overrides it. Created if missing."""
    configured = os.environ.get("GUESTCERT_CACHE_DIR")
    path = (
        Path(configured).absolute() if configured else Path(platformdirs.user_cache_dir("guestcert", appauthor=False))
    )
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_whole(path: Path, text: str, mode: int | None = None) -> None:
    """Write `text` to `path`, of which nobody sees a part; with permissions `mode`, by default the usual ones. Raises OSError."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    partial.write_text(text)
    if mode is not None:
        partial.chmod(mode)
    partial.rename(path)


def runtime_dir() -> Path:
    """A short per-user folder (mode 0700) for sockets, registrations and libvirt roots.

    Short because an AF_UNIX path holds at most 107 bytes (unix(7)) and libvirt appends its own to ours.
    `GUESTCERT_RUNTIME_DIR` overrides it.

    Raises PermissionError if somebody else owns the folder or others may enter it.
    """
    configured = os.environ.get("GUESTCERT_RUNTIME_DIR")
    path = Path(configured).absolute() if configured else _default_runtime_dir()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(
            f"{path}: must be a folder of user {os.getuid()} with mode 0700; remove it or set GUESTCERT_RUNTIME_DIR"
        )
    return path


def lease_dir() -> Path:
    """Where the leases of this machine are, the same folder for all its users; not created here.

    `GUESTCERT_LEASE_DIR` overrides it. Not in /tmp, which services have of their own, and which is swept.
    """
    configured = os.environ.get("GUESTCERT_LEASE_DIR")
    return Path(configured).absolute() if configured else Path("/dev/shm/guestcert-leases")  # noqa: S108 -- see the script


def _default_runtime_dir() -> Path:
    per_user = Path(f"/run/user/{os.getuid()}")
    if per_user.is_dir() and os.access(per_user, os.W_OK):
        return per_user / "guestcert"
    return Path(tempfile.gettempdir()) / f"guestcert-{os.getuid()}"
