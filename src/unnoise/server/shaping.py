"""What is to be done to pictures and masks of other programs' kinds: the value. `reshaping` does it, in the worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

New = Literal["light", "dark", "transparent"]


@dataclass(frozen=True)
class Shaping:
    """What is done to a picture and its mask.

    new: where the mask says that the picture is to be new; ours are light there. size: width and height that both are
    brought to, None for their own. crop: whether a picture of another aspect gives its middle, or is stretched.
    """

    new: New = "light"
    size: tuple[int, int] | None = None
    crop: bool = False
