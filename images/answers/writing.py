"""From wishes to the answers of one installer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from images.answers.autoinstall import user_data
from images.answers.autounattend import windows_files
from images.answers.autoyast import profile
from images.answers.given import AnswerFile, Answers, Volume, Wishes
from images.answers.text import WORD, fill_in, finish_script
from images.faults import ImageFault

__all__ = ["WORD", "answers_for"]

Installer = Literal["preseed", "kickstart", "autoyast", "autoinstall", "autounattend"]

_CONSOLES = ("console=tty0", "console=ttyS0,115200")
"""Both, so that screen and first serial port show what happens; the last one is /dev/console."""


_ARGUMENT = re.compile(r"[A-Za-z0-9_.,:=/@+~%\[\]-]{1,1000}")


def answers_for(installer: Installer, wishes: Wishes) -> Answers:
    """What `installer` is given for `wishes`. Raises ImageFault for a wish that cannot be told safely."""
    answers = _WRITERS[installer](wishes)
    for argument in answers.arguments:
        if not _ARGUMENT.fullmatch(argument):
            raise ImageFault(
                f"the installer's kernel cannot be told {argument!r}: it takes words without blanks or quotes"
            )
    return answers


@dataclass(frozen=True)
class _Address:
    scheme: str
    host: str
    folder: str


def _address(mirror: str) -> _Address:
    parts = urlsplit(mirror)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ImageFault(f"an installer has no way to {mirror}: it must be an address http:// or https://")
    return _Address(parts.scheme, parts.netloc, parts.path.rstrip("/") or "/")


def _preseed(wishes: Wishes) -> Answers:
    """Debian's installer reads /preseed.cfg of its initrd before it asks anything."""
    text = fill_in(
        "preseed.cfg.j2",
        wishes=wishes,
        mirror=_address(wishes.mirror) if wishes.mirror else None,
        arguments=(*_CONSOLES, *wishes.kernel_arguments),
    )
    return Answers(
        # Text questions line by line, and no other console: it would take what is said for its own screen.
        arguments=(
            "auto=true",
            "priority=critical",
            "DEBIAN_FRONTEND=text",
            # Else it takes a serial line for one with a person at it, and draws windows (screen(1)).
            "TERM_TYPE=pts",
            "console=ttyS0,115200",
            *wishes.kernel_arguments,
        ),
        in_initrd=(
            AnswerFile("preseed.cfg", text.encode("ascii")),
            AnswerFile("guestcert/finish", finish_script(wishes, "/target").encode("ascii")),
        ),
        question=r"(?:Prompt: .*>|\[Press enter to continue\])$",
    )


def _kickstart(wishes: Wishes) -> Answers:
    """Anaconda's initrd takes the file out of itself (anaconda-dracut, inst.ks=file:)."""
    text = fill_in(
        "kickstart.cfg.j2",
        wishes=wishes,
        disk=wishes.disk.removeprefix("/dev/"),
        arguments=(*_CONSOLES, *wishes.kernel_arguments),
        finish=finish_script(wishes, ""),
    )
    proxy = () if wishes.proxy is None else (f"inst.proxy={wishes.proxy}",)
    return Answers(
        arguments=(
            "inst.ks=file:/guestcert.ks",
            f"inst.repo={wishes.repository or 'cdrom'}",
            "inst.text",
            *proxy,
            "console=ttyS0,115200",
            *wishes.kernel_arguments,
        ),
        in_initrd=(AnswerFile("guestcert.ks", text.encode("ascii")),),
        question=r"(?:Please make (?:a|your) (?:selection|choice)|\['?c'? to continue).*:$",
    )


def _autoyast(wishes: Wishes) -> Answers:
    """linuxrc hands file:/// of its initrd on to YaST."""
    finish = finish_script(wishes, "")
    proxy = () if wishes.proxy is None else (f"proxy={wishes.proxy}",)
    return Answers(
        arguments=(
            "autoyast=file:///autoinst.xml",
            f"install={wishes.repository or 'cd:/'}",
            "netsetup=dhcp",
            "textmode=1",
            *proxy,
            "console=ttyS0,115200",
            *wishes.kernel_arguments,
        ),
        in_initrd=(AnswerFile("autoinst.xml", profile(wishes, finish, (*_CONSOLES, *wishes.kernel_arguments))),),
    )


def _autoinstall(wishes: Wishes) -> Answers:
    """Subiquity takes its answers from cloud-init, which finds them on a volume with this label."""
    finish = finish_script(wishes, "/target")
    files = (
        AnswerFile("user-data", user_data(wishes, finish, (*_CONSOLES, *wishes.kernel_arguments))),
        AnswerFile("meta-data", b""),
    )
    # Without the word `autoinstall` it asks whether the disk may be written.
    arguments = ("autoinstall", "console=ttyS0,115200", *wishes.kernel_arguments)
    return Answers(arguments=arguments, volume=Volume("CIDATA", files))


def _autounattend(wishes: Wishes) -> Answers:
    """Windows Setup looks for autounattend.xml in the root of every removable medium."""
    return Answers(volume=Volume("GUESTCERT", windows_files(wishes, WORD)), reboots=True)


_WRITERS: dict[Installer, Callable[[Wishes], Answers]] = {
    "preseed": _preseed,
    "kickstart": _kickstart,
    "autoyast": _autoyast,
    "autoinstall": _autoinstall,
    "autounattend": _autounattend,
}
