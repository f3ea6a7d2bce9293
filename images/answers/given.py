"""What is wished of an installation, and the answers that an installer is given for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Wishes:
    """What is to come out, in no installer's words.

    `host_private_key` is OpenSSH's PEM, the public keys one line without comment each; `disk` is the device as the
    installer sees it. `proxy` and `password` do not decide what comes out: the one serves the installation alone, the
    other is forgotten after it (only Windows wants one: a random one that nobody knows).
    """

    hostname: str
    authorized_key: str
    host_private_key: str
    host_public_key: str
    disk: str
    packages: tuple[str, ...]
    kernel_arguments: tuple[str, ...] = ()
    suite: str | None = None
    mirror: str | None = None
    repository: str | None = None
    proxy: str | None = None
    product: str | None = None
    product_key: str | None = None
    password: str = "not chosen yet"  # noqa: S105 -- never used as one


@dataclass(frozen=True)
class AnswerFile:
    """A file by its path below the root of wherever it is put."""

    path: str
    content: bytes


@dataclass(frozen=True)
class Volume:
    """A CD-ROM, found by its label."""

    label: str
    files: tuple[AnswerFile, ...]


@dataclass(frozen=True)
class Answers:
    """Everything an installer is given: kernel arguments, files added to its initrd, a volume.

    `question` (a regular expression) is how the console's last line ends when the installer asks a person all the same;
    `reboots`: it goes on after a reboot of its own, and has ended only when the machine is powered off.
    """

    arguments: tuple[str, ...] = ()
    in_initrd: tuple[AnswerFile, ...] = ()
    volume: Volume | None = None
    question: str | None = None
    reboots: bool = False

    def digest(self) -> str:
        """SHA-256 of everything the installer is told, as 64 hexadecimal digits."""
        files = [*self.in_initrd, *(self.volume.files if self.volume else ())]
        told = [
            self.arguments,
            self.volume and self.volume.label,
            [[file.path, hashlib.sha256(file.content).hexdigest()] for file in files],
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()
