"""What is to be done to pictures and masks of other programs' kinds: the value. `reshaping` does it, in the worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from unnoise.server.asked import Asked

New = Literal["light", "dark", "transparent"]


@dataclass(frozen=True)
class Shaping:
    """What is done to a picture and its mask.

    new: where the mask says that the picture is to be new; ours are light there. crop: whether a picture of another
    aspect gives its middle, or is stretched. width, height: that both are brought to, None for their own.
    """

    new: New = "light"
    crop: bool = False
    width: int | None = None
    height: int | None = None

    def sized(self, asked: Asked) -> Shaping:
        """To the size that is asked for; that of a masked area is of the part that is worked on, not of the picture."""
        return self if asked.masked_area else replace(self, width=asked.width, height=asked.height)
