"""Doubling and a 3x3 convolution at once, without the products that are made four times (Shi et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unnoise.networks.hardware import has_kernels
from unnoise.networks.unet.layers import Kept, followed

_LEAST = 2**18
"""Numbers of a kernel from which the saving is worth its own overhead."""
_GEOMETRY = [1, 1], [0, 0], [2, 2], [1, 1], 1
"""Of the transposed convolution: padding, padding of the output, stride, dilation, groups."""


class Phases:
    """A 3x3 convolution over a map whose pixels stand four times each, computed from the small map: 4/9 of the work.

    A pixel's four copies meet a 4x4 square of outputs, each through the sum of those weights that see a copy: so it is
    one transposed convolution of stride 2. The result is the same but for rounding. The sums are kept, laid out as the
    kernel reads them, until the weight changes. 1280 channels from 16x16 to 32x32, bfloat16, two pictures, one thread:
    62 ms against 141 (1280 from 8x8: 22 against 49; 640 from 32x32: 64 against 144). Where the weight learns, the sums
    are made at each step and the gradient goes through them: 16 pictures of 256 channels, 16x16, float32, two threads,
    forward and back: 68 ms against 135.
    """

    def __init__(self) -> None:
        self._kept = Kept()

    def are_faster(self, x: Tensor, weight: Tensor) -> bool:
        """Whether this is the way to go: on a CPU, for wide layers; where they learn, only over many pixels."""
        if followed():
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
        kernel = (
            summed(weight) if torch.is_grad_enabled() else self._kept(weight, lambda one: _laid_out(one, x))
        )
        if kernel.layout == torch.strided:
            return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)
        out: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
            x, kernel, bias, *_GEOMETRY, "none", [], ""
        )
        return out


def _laid_out(weight: Tensor, x: Tensor) -> Tensor:
    """The sums as the kernel for maps such as x reads them, where there is one."""
    kernel = summed(weight)
    if not has_kernels(weight.dtype):
        return kernel
    reordered: Tensor = torch.ops.mkldnn._reorder_convolution_transpose_weight(
        kernel, *_GEOMETRY, list(x.shape)
    )
    return reordered


def summed(weight: Tensor) -> Tensor:
    """weight: (out, width, 3, 3). Returns (width, out, 4, 4) of a transposed convolution, each sum rounded once.

    Of a row w0, w1, w2 they are w2, w1 + w2, w0 + w1, w0; columns likewise.
    """
    wide = weight if weight.dtype == torch.float64 else weight.float()
    sums = F.avg_pool2d(wide.flip(2, 3), 2, stride=1, padding=1, divisor_override=1)
    return sums.to(weight.dtype).transpose(0, 1).contiguous()
