"""The one exception this room raises for what people or machines can get wrong."""

from __future__ import annotations


class ImageFault(Exception):
    """An image could not be obtained, is damaged or is refused. The message is one line and says what to do.

    It quotes what servers and archives say: what a terminal would obey, or not show, is escaped.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        super().__init__("".join(each if each.isprintable() else ascii(each)[1:-1] for each in line))
