"""How pictures come to the square that a network sees, and timm's table that says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from torch import Tensor
from torch.nn import functional as F

from unnoise.errors import FileError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Square:
    """The shorter side becomes `shortest` (antialiased), the middle square is cut out, each channel normalised.

    size: side of that square. mean, deviation: of each channel, from 0 to 1. method: bicubic or bilinear.
    middle: where half a pixel goes; down as transformers has it, or `round` as torchvision does.
    source: who says so.
    """

    size: int
    shortest: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    method: str = "bicubic"
    middle: Callable[[float], int] = math.floor
    source: str = ""

    @property
    def rule(self) -> str:
        """All of this in words."""
        mean, deviation = (" ".join(f"{each:.4g}" for each in part) for part in (self.mean, self.deviation))
        return (
            f"shorter side resized to {self.shortest} ({self.method}, antialiased), middle {self.size}x{self.size}, "
            f"mean {mean}, deviation {deviation}{self.source}"
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (pictures, 3, height, width) -> (pictures, 3, size, size), normalised."""
        pictures = pixels.float().div(255.0)
        least = min(pictures.shape[-2:])
        sides = [self.shortest * side // least for side in pictures.shape[-2:]]
        resized = F.interpolate(pictures, size=sides, mode=self.method, antialias=True).clamp(0.0, 1.0)
        top, left = (self.middle((side - self.size) / 2) for side in sides)
        middle = resized[..., top : top + self.size, left : left + self.size]
        mean, deviation = (pictures.new_tensor(part).view(3, 1, 1) for part in (self.mean, self.deviation))
        return (middle - mean) / deviation


def are_three(value: object, least: float = -math.inf) -> TypeGuard[list[float]]:
    """Whether it is a list of three finite numbers above `least`."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(each, int | float) and least < each < math.inf for each in value)
    )


# What timm takes where its table says nothing, what is understood, and that in words.
_STATED: dict[str, tuple[Any, Callable[[Any], bool], str]] = {
    "input_size": (
        [3, 224, 224],
        lambda v: are_three(v, 0) and v == [3, v[1], v[1]] and v[1] in range(1, 4097),
        "[3, side, side]",
    ),
    "crop_pct": (0.875, lambda v: isinstance(v, int | float) and 0.05 <= v <= 1, "a number from 0.05 to 1"),
    "crop_mode": ("center", lambda v: v == "center", '"center"'),
    "interpolation": ("bicubic", lambda v: v in ("bicubic", "bilinear"), '"bicubic" or "bilinear"'),
    "mean": (list(IMAGENET[0]), are_three, "three numbers"),
    "std": (list(IMAGENET[1]), lambda v: are_three(v, 0), "three numbers above 0"),
}


def stated(table: Mapping[str, Any], path: Path) -> Square:
    """What timm prepares pictures by for weights with this `pretrained_cfg`, from the file `path`.

    Raises FileError for what is not understood, such as stretching (`crop_mode: squash`).
    """
    told: dict[str, Any] = {}
    for name, (default, understood, words) in _STATED.items():
        value = told[name] = default if table.get(name) is None else table[name]
        if not understood(value):
            raise FileError(f"'{path}' says that {name} is {value!r}; only {words} is understood.")
    size = told["input_size"][1]
    return Square(
        size, math.floor(size / told["crop_pct"]), tuple(told["mean"]), tuple(told["std"]),
        told["interpolation"], round, ", as config.json says",
    )  # fmt: skip
