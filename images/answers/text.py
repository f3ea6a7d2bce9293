"""Answers written as text: a template is filled in with values that cannot be taken for anything but values."""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from images.answers.given import Wishes
from images.faults import ImageFault

# No line break, quote, backslash, '$', '#', ';', '{', '<' or '&': nothing that ends a value in any of these languages.
_PLAIN = re.compile(r"[A-Za-z0-9 _.,:=/@+~%()\[\]-]*")

WORD = "guestcert-installed"
"""What the last thing that the answers do writes to the second serial port."""


class Script(str):
    """Text that is meant as it is: it was filled in by `fill_in` itself."""

    __slots__ = ()


def fill_in(template: str, **values: object) -> Script:
    """The text of `template` with its values. Raises ImageFault for a value that is more than plain words."""
    return Script(_environment().get_template(template).render(values))


def finish_script(wishes: Wishes, target: str) -> Script:
    """What a Linux installer runs last, with the installed system below the folder `target` ("" for /): sh.

    It puts the keys in, and then writes WORD to the second serial port.
    """
    private = wishes.host_private_key.splitlines()
    return fill_in("finish.sh.j2", wishes=wishes, target=target, private=private, word=WORD)


def _plain(value: object) -> object:
    if isinstance(value, Script):
        return value
    if not isinstance(value, str) or not _PLAIN.fullmatch(value):
        raise ImageFault(f"the installer cannot be told {value!r}: only letters, digits, blanks and '_.,:=/@+~%()[]-'")
    return value


@cache
def _environment() -> Environment:
    # Not autoescape, which is for HTML: nothing that would need escaping passes `_plain`.
    return Environment(
        loader=PackageLoader("images.answers", "templates"),
        undefined=StrictUndefined,
        finalize=_plain,
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
