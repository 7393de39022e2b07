"""The residual block, and the two ways to change the size of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.unet.attention import as_many
from unnoise.networks.unet.config import UNetConfig
from unnoise.networks.unet.in_place import plus, silu
from unnoise.networks.unet.layers import Convolution, Linear, followed
from unnoise.networks.unet.norm import GroupNorm
from unnoise.networks.unet.phases import Phases


class Downsample(nn.Module):
    """Halves height and width by a 3x3 convolution of stride 2."""

    def __init__(self, width: int, same: bool) -> None:
        super().__init__()
        # TensorFlow's SAME padding, of the DDPM lineage, pads an even size at the right and bottom only.
        self.same = same
        self.conv = Convolution(width, width, 3, stride=2, padding=0 if same else 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, h, w) -> (batch, width, h / 2, w / 2), rounded up where `same` is false."""
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.same else x)
        return out


class Upsample(nn.Module):
    """Doubles height and width: each pixel four times, then a 3x3 convolution.

    Where the finer level's size is odd, the last row or column is left out before the convolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = Convolution(width, width, 3, padding=1)
        self.phases = Phases()

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(batch, width, h, w) -> (batch, width, 2 h, 2 w), or of `size`, which is at most one less."""
        if size is not None and size != (2 * x.shape[2], 2 * x.shape[3]):
            cut: Tensor = self.conv(_cut(double(x), size))
            return cut
        # an adapter may stand in the convolution's place
        if isinstance(self.conv, nn.Conv2d) and self.phases.are_faster(x, self.conv.weight):
            return self.phases(x, self.conv.weight, self.conv.bias)
        out: Tensor = self.conv(double(x))
        return out


class ResidualBlock(nn.Module):
    """The sum of x and conv(silu(norm(conv(silu(norm(x))) + time))) (Ho et al. 2020, appendix B).

    With `scale_shift`, time enters as norm(h) * (1 + scale) + shift (Dhariwal and Nichol 2021, AdaGN).
    resize: "" keeps the size; "down" halves and "up" doubles it, before the first convolution and on the
    shortcut alike (BigGAN's blocks, same paper, section 3).
    """

    def __init__(self, width: int, out: int, config: UNetConfig, dropout: float, resize: str = "") -> None:
        super().__init__()
        groups, eps = config.norm_groups, config.norm_eps
        self.resize = resize
        self.scale_shift = config.scale_shift
        self.norm1 = GroupNorm(groups, width, eps)
        self.conv1 = Convolution(width, out, 3, padding=1)
        self.time = Linear(4 * config.widths[0], 2 * out if config.scale_shift else out)
        self.norm2 = GroupNorm(groups, out, eps)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = Convolution(out, out, 3, padding=1)
        self.shortcut = nn.Identity() if width == out else Convolution(width, out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x: (batch, width, h, w); emb: (batch or less, embedding) after its SiLU. Returns (batch, out, h', w')."""
        h = resized(self.norm1.activated(x), self.resize)
        h = self.conv1(h)
        time = self.time(emb)
        if followed() or time.shape[0] > 1:  # one row goes to all; but not in a graph for batches of any size
            time = as_many(time, x.shape[0])
        time = time[:, :, None, None]
        if self.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            h = silu(self.norm2(h) * (1 + scale) + shift)
        else:
            h = self.norm2.activated(h + time)
        h = self.conv2(self.dropout(h))
        return plus(h, self.shortcut(resized(x, self.resize)))


def _cut(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The first rows and columns."""
    return x[:, :, : size[0], : size[1]].contiguous(memory_format=torch.channels_last)


def double(x: Tensor) -> Tensor:
    """Each pixel four times: (batch, c, h, w) -> (batch, c, 2 h, 2 w)."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def resized(x: Tensor, resize: str) -> Tensor:
    """Half ("down", mean of four), double ("up"), or the same size ("")."""
    if resize == "down":
        return F.avg_pool2d(x, 2)
    return double(x) if resize == "up" else x
