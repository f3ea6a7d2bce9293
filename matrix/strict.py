"""What all matrix data is made of: immutable models that know every one of their fields, most of them with an id."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from matrix.words import Id


class Strict(BaseModel):
    """An immutable model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Identified(Strict):
    """An item that others name by its id."""

    id: Id

    def __hash__(self) -> int:
        return hash((type(self), self.id))
