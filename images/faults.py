"""The one exception this room raises for what people or machines can get wrong."""

from __future__ import annotations


class ImageFault(Exception):
    """An image could not be obtained, is damaged or is refused. The message is one line and says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
