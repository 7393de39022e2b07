"""Doubling and a 3x3 convolution at once, without the products that are made four times (Shi et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name every PyTorch reader knows

_LEAST = 2**18
"""Numbers of a kernel from which the saving is worth its own overhead."""
_COPIES = ((slice(0, 1), slice(1, 3)), (slice(0, 2), slice(2, 3)))
"""Of three weights in a row, those that meet copies of one pixel: at an even place, at an odd one."""
_TAPS = (((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)), ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
"""The same as a matrix for each place: two sums of three weights."""
_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Rows and columns that are even (0) or odd (1)."""


class Phases:
    """A 3x3 convolution over a map whose pixels stand four times each, computed from the small map: 4/9 of the work.

    Of the nine pixels that an output reads, those that are copies of one pixel have their weights added beforehand:
    a row at an even place reads one copy of the row above and two of its own, a row at an odd place two of its own
    and one of the row below; columns likewise. So each of the four phases (even and odd, rows and columns) is a 2x2
    convolution. The result is the same but for rounding. The sums are kept until the weight changes; where it learns,
    they are made at each step, and the gradient goes through them.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[Any, ...], Tensor] | None = None

    def __reduce__(self) -> tuple[type[Phases], tuple[()]]:
        return Phases, ()  # copies of a layer make their own sums

    def are_faster(self, x: Tensor, weight: Tensor) -> bool:
        """Whether this is the way to go: on a CPU, for wide layers; where they learn, only over many pixels."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            return False  # the sums would become part of the graph
        if x.device.type != "cpu" or weight.numel() < _LEAST:
            return False
        if torch.is_grad_enabled():
            # the sums are kept for the gradient in place of the doubled map: they should be smaller
            return weight.requires_grad and x.numel() // x.shape[1] >= 4 * len(weight)
        # weights of inference do not tell when they change
        return not torch.is_autocast_enabled("cpu") and not weight.is_inference()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x: (batch, width, h, w); weight: (out, width, 3, 3). Returns (batch, out, 2 h, 2 w)."""
        if torch.is_grad_enabled():
            return learned(x, weight, bias)
        height, width = x.shape[2:]
        all_phases = F.conv2d(x, self._sums(weight), None if bias is None else bias.repeat(4), padding=1)
        found = torch.split(all_phases, len(weight), dim=1)
        return woven(
            [made[:, :, r : r + height, c : c + width] for (r, c), made in zip(_PHASES, found, strict=True)]
        )

    def _sums(self, weight: Tensor) -> Tensor:
        """(4 * out, width, 2, 2): the weights of the four phases, first of even rows and columns."""
        key = weight, weight._version, weight.data_ptr(), weight.dtype
        known = self._known
        if known is None or known[0][0] is not weight or known[0][1:] != key[1:]:
            self._known = known = key, summed(weight.detach())
        return known[1]


def summed(weight: Tensor) -> Tensor:
    """weight: (out, width, 3, 3). Returns (4 * out, width, 2, 2), each sum rounded once."""
    out, width = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1)  # the order of channels-last memory
    sums = taps.new_empty(2, 2, out, 2, 2, width)
    for row, column, i, j in product(range(2), repeat=4):
        square = taps[:, _COPIES[row][i], _COPIES[column][j]].flatten(1, 2)
        torch.sum(square, dim=1, out=sums[row, column, :, i, j])  # in float32 whatever its dtype
    return sums.flatten(0, 2).permute(0, 3, 1, 2)


def learned(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of the doubled map, with gradients of all three.

    16 pictures of 256 channels, 16x16, forward and back: 175 ms, the plain way 253.
    """
    out, width = weight.shape[:2]
    height, wide = x.shape[2:]
    with torch.autocast("cpu", enabled=False):  # else the weights would be rounded before they are added
        axis = weight.new_tensor(_TAPS)
        taps = torch.einsum("pai,qbj->pqabij", axis, axis).reshape(16, 9)
        sums = taps @ weight.permute(2, 3, 0, 1).reshape(9, -1)
    padded = F.pad(x, (1, 1, 1, 1))
    made = []
    for (row, column), kernel in zip(_PHASES, sums.view(4, 2, 2, out, width), strict=True):
        kernel = kernel.permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)
        part = padded[:, :, row : row + height + 1, column : column + wide + 1]
        made.append(F.conv2d(part, kernel, bias))
    woven_map: Tensor = Woven.apply(*made)  # type: ignore[no-untyped-call]
    return woven_map


class Woven(torch.autograd.Function):
    """`woven`, whose gradient is read where each phase lies."""

    @staticmethod
    def forward(ctx: object, *phases: Tensor) -> Tensor:
        """Four maps (batch, c, h, w). Returns (batch, c, 2 h, 2 w)."""
        return woven(phases)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, ...]:
        """grad: of the whole map. Returns those of the phases."""
        return tuple(grad[:, :, row::2, column::2] for row, column in _PHASES)


def woven(phases: Sequence[Tensor]) -> Tensor:
    """One map of the four whose rows and columns alternate."""
    first = phases[0]
    batch, channels, height, width = first.shape
    out = first.new_empty(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
    for (row, column), made in zip(_PHASES, phases, strict=True):
        out[:, :, row::2, column::2] = made
    return out
