"""Latents decoded in strips, in about half the memory and without a seam: the very numbers of the whole decoder.

Cut into parts that are decoded one by one, a picture shows seams and shifts of colour, for the decoder's attention and
its group norms look at the whole map. Here the coarsest map, attention included, is made whole (it is small). From
there on each layer goes over the map strip by strip, with as many rows more as its convolutions reach, and each norm's
statistics are summed over all strips before they are used. What is kept whole is one map before a residual block and
one after it; what is computed between is computed twice, once for the second norm's statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.unet.norm import GroupNorm
from unnoise.networks.vae import AutoEncoder, Level, Residual, memory_order

PIXELS = 2**17
"""Places of a strip at the size that its layer makes."""

_MARGIN = 2  # rows of a layer's input: two convolutions, or one after doubling and two

Layer = Callable[[Tensor], Tensor]
Statistics = tuple[Tensor, Tensor]
"""Mean and variance, each (batch, groups), float64."""


def decode_in_strips(autoencoder: AutoEncoder, latents: Tensor, pixels: int = PIXELS) -> Tensor:
    """As `AutoEncoder.decode`.

    latents: (batch, latent channels, h, w). pixels: places of a strip. Returns the pictures in the latents' dtype.
    """
    decoder = autoencoder.decoder
    x = decoder.mid_block(decoder.conv_in(autoencoder.post_quant(autoencoder.inside(latents))))
    enter: Layer = nn.Identity()
    for level in decoder.up_blocks:
        assert isinstance(level, Level)
        for residual in level.residuals:
            assert isinstance(residual, Residual)
            x = _residual(residual, x, enter, pixels)
            enter = nn.Identity()
        if level.upsample is not None:
            enter = level.upsample  # its map, four times as large, is never held whole
    norm = decoder.norm_out
    known = _statistics(norm, _strips(x, enter, pixels))

    def leave(part: Tensor) -> Tensor:
        return decoder.conv_out(F.silu(norm.by(enter(part), *known))).to(latents.dtype)

    return _joined(_strips(x, leave, pixels))


def _residual(residual: Residual, x: Tensor, enter: Layer, pixels: int) -> Tensor:
    """What the block makes of `enter(x)`."""
    first = _statistics(residual.norm1, _strips(x, enter, pixels))

    def half(entered: Tensor) -> Tensor:
        return residual.conv1(F.silu(residual.norm1.by(entered, *first)))

    second = _statistics(residual.norm2, _strips(x, lambda part: half(enter(part)), pixels))

    def whole(part: Tensor) -> Tensor:
        entered = enter(part)
        h = F.silu(residual.norm2.by(half(entered), *second))
        return residual.shortcut(entered) + residual.conv2(h)

    return _joined(_strips(x, whole, pixels))


def _strips(x: Tensor, layer: Layer, pixels: int) -> Iterator[tuple[int, Tensor]]:
    """The layer's map of x in strips from the top: the height of all of it, and the rows of one.

    Each is made from its own rows and a margin, whose rows are cut off again.
    """
    height, width = x.shape[2:]
    count = min(height, -(-4 * height * width // pixels))  # a layer doubles at most
    for low, high in pairwise(height * place // count for place in range(count + 1)):
        top, bottom = max(0, low - _MARGIN), min(height, high + _MARGIN)
        made = layer(x[:, :, top:bottom])
        scale = made.shape[2] // (bottom - top)
        yield height * scale, made[:, :, (low - top) * scale : (high - top) * scale]


def _joined(strips: Iterator[tuple[int, Tensor]]) -> Tensor:
    """One map of all strips."""
    whole, at = None, 0
    for height, part in strips:
        if whole is None:
            shape = (part.shape[0], part.shape[1], height, part.shape[3])
            order = memory_order(part.device)
            whole = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=order)
        whole[:, :, at : at + part.shape[2]] = part
        at += part.shape[2]
    assert whole is not None
    return whole


def _statistics(norm: GroupNorm, strips: Iterator[tuple[int, Tensor]]) -> Statistics:
    """Of each group, over all strips: sums of float32 numbers, added up in float64."""
    none = torch.zeros((), dtype=torch.float64, device="cpu")
    count, total, square = 0, none, none
    for _, part in strips:
        groups = part.float().reshape(part.shape[0], norm.num_groups, -1)
        variance, mean = torch.var_mean(groups, dim=2, correction=0)
        number = groups.shape[2]
        count += number
        total = total + number * mean.double()
        square = square + number * (variance.double() + mean.double().square())
    mean = total / count
    return mean, (square / count - mean.square()).clamp(min=0.0)
