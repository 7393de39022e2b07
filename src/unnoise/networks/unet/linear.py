"""Linear layers over the pixels of a feature map, by the kernel that is fastest for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every PyTorch reader knows


class TokenLinear(nn.Linear):
    """`nn.Linear` for (batch, n, width) tokens, as a 1x1 convolution where that is the faster kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, n, width). Returns (batch, n, out)."""
        wide = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not wide or small(x):
            return F.linear(x, self.weight, self.bias)
        # On AMD processors the float32 matrix product behind F.linear is two to four times slower than this.
        picture = x.transpose(1, 2).unsqueeze(2)
        return by_pixel(picture, self.weight[:, :, None, None], self.bias).squeeze(2).transpose(1, 2)


class PixelLinear(nn.Conv2d):
    """A convolution of 1x1: a linear layer over the channels of each pixel."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, width, h, w). Returns (batch, out, h, w)."""
        return by_pixel(x, self.weight, self.bias)


def by_pixel(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x: (batch, width, h, w); weight: (out, width, 1, 1). Returns (batch, out, h, w).

    With one thread torch keeps oneDNN's kernel, which is twice as fast, for convolutions of more pixels and dilated
    ones; dilation changes nothing for one pixel.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return F.conv2d(x, weight, bias)
    alone = x.device.type == "cpu" and torch.get_num_threads() == 1 and not small(x)
    return F.conv2d(x, weight, bias, dilation=2 if alone else 1)


def small(x: Tensor) -> bool:
    """Whether torch convolves this float32 batch by a loop of its own, whatever the threads: one small picture."""
    return len(x) == 1 and x.numel() <= 20480
