"""T2I-Adapter (Mou et al. 2023): a small network that reads a picture once and steers a UNet by its levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.limits import Bound, Count, Declared


@dataclass(frozen=True)
class PictureAdapterConfig(Declared):
    """What a T2I-Adapter is made of.

    channels: of the picture, 3 or 1 (grey). fold: side of the squares of pixels that become one place. widths: of its
    levels. halves: those that begin by halving the size. blocks: of each level. light: with levels a quarter as wide
    inside, and no convolution before the first.
    """

    channels: Count = 3
    fold: Count = 8
    widths: tuple[Count, ...] = (320, 640, 1280, 1280)
    halves: tuple[Bound, ...] = (1, 2, 3)
    blocks: Count = 2
    light: bool = False


class PictureAdapter(nn.Module):
    """From a picture to a feature map for each level of a UNet's way down, and where it has one more, its middle."""

    def __init__(self, config: PictureAdapterConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels * config.fold**2
        self.conv_in: nn.Conv2d | None = None
        if not config.light:
            self.conv_in = nn.Conv2d(width, config.widths[0], 3, padding=1)
            width = config.widths[0]
        levels = []
        for place, out in enumerate(config.widths):
            levels.append(_Level(width, out, config, halve=place in config.halves))
            width = out
        self.levels = nn.ModuleList(levels)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Finest map first. picture: (batch, channels, height, width) in [0, 1], sides multiples of `fold`."""
        weight = next(self.parameters())
        h = F.pixel_unshuffle(picture.to(weight.dtype), self.config.fold)
        h = h.contiguous(memory_format=torch.channels_last)
        h = h if self.conv_in is None else self.conv_in(h)
        maps = []
        for level in self.levels:
            h = level(h)
            maps.append(h)
        return tuple(maps)


class _Level(nn.Module):
    def __init__(self, width: int, out: int, config: PictureAdapterConfig, halve: bool) -> None:
        super().__init__()
        inner = out // 4 if config.light else out
        self.halve = halve
        self.widen = nn.Conv2d(width, inner, 1) if config.light or width != out else None
        self.residuals = nn.ModuleList(
            _Residual(inner, 3 if config.light else 1) for _ in range(config.blocks)
        )
        self.leave = nn.Conv2d(inner, out, 1) if config.light else None

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2, ceil_mode=True) if self.halve else x
        x = x if self.widen is None else self.widen(x)
        for residual in self.residuals:
            x = residual(x)
        return x if self.leave is None else self.leave(x)


class _Residual(nn.Module):
    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))
