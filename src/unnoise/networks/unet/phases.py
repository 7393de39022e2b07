"""Doubling and a 3x3 convolution at once, without the products that are made four times (Shi et al. 2016)."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name every PyTorch reader knows

_LEAST = 2**18
"""Numbers of a kernel from which the saving is worth its own overhead."""


class Phases:
    """A 3x3 convolution over a map whose pixels stand four times each, computed from the small map: 4/9 of the work.

    Of the nine pixels that an output reads, those that are copies of one pixel have their weights added beforehand:
    a row at an even place reads one copy of the row above and two of its own, a row at an odd place two of its own
    and one of the row below; columns likewise. So each of the four phases (even and odd, rows and columns) is a 2x2
    convolution. The result is the same but for rounding. The sums are kept until the weight changes.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[Any, ...], Tensor] | None = None

    def __reduce__(self) -> tuple[type[Phases], tuple[()]]:
        return Phases, ()  # copies of a layer make their own sums

    def are_faster(self, x: Tensor, weight: Tensor) -> bool:
        """Whether this is the way to go: on a CPU, for wide layers, without a gradient."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            return False  # the sums would become part of the graph
        if x.device.type != "cpu" or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            return False
        return weight.numel() >= _LEAST and not weight.is_inference()  # those do not tell when they change

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x: (batch, width, h, w); weight: (out, width, 3, 3). Returns (batch, out, 2 h, 2 w)."""
        batch, _, height, width = x.shape
        all_phases = F.conv2d(x, self._sums(weight), None if bias is None else bias.repeat(4), padding=1)
        channels = len(weight)
        shape = batch, channels, 2 * height, 2 * width
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        for phase, made in enumerate(torch.split(all_phases, channels, dim=1)):
            row, column = divmod(phase, 2)
            out[:, :, row::2, column::2] = made[:, :, row : row + height, column : column + width]
        return out

    def _sums(self, weight: Tensor) -> Tensor:
        """(4 * out, width, 2, 2): the weights of the four phases, first of even rows and columns."""
        key = weight, weight._version, weight.data_ptr(), weight.dtype
        known = self._known
        if known is None or known[0][0] is not weight or known[0][1:] != key[1:]:
            self._known = known = key, summed(weight.detach())
        return known[1]


_COPIES = ((slice(0, 1), slice(1, 3)), (slice(0, 2), slice(2, 3)))
"""Of three weights in a row, those that meet copies of one pixel: at an even place, at an odd one."""


def summed(weight: Tensor) -> Tensor:
    """weight: (out, width, 3, 3). Returns (4 * out, width, 2, 2), each sum rounded once."""
    out, width = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1)  # the order of channels-last memory
    sums = taps.new_empty(2, 2, out, 2, 2, width)
    for row, column, i, j in product(range(2), repeat=4):
        square = taps[:, _COPIES[row][i], _COPIES[column][j]].flatten(1, 2)
        torch.sum(square, dim=1, out=sums[row, column, :, i, j])  # in float32 whatever its dtype
    return sums.flatten(0, 2).permute(0, 3, 1, 2)
