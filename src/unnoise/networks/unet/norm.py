"""Group normalisation (Wu and He 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_LARGE = 2**14
"""Pixels from which float32 sums over a channels-last map are made in float64."""
_AT_ONCE = 2**20
"""Numbers that are squared at a time: what the caches hold."""


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, in parts computed in float32 where its bfloat16 kernels are the slower ones.

    On a CPU, the channels-last bfloat16 kernels are vectorised only over 16 channels of a group and more; with fewer,
    float32 is faster, conversions included: forward below 1024 pixels (256 channels in 32 groups, 16x16, 8 pictures:
    0.4 ms against 1.6), backward always (with the forward 1.3 ms against 3.9). Those of float32 add up the pixels one
    by one, which on large maps costs a digit: there, without a gradient, the sums are made in float64.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, width, h, w). Returns the same shape and dtype."""
        few_channels = x.shape[1] < 16 * self.num_groups
        slow = few_channels and x.dtype == torch.bfloat16 and x.device.type == "cpu"
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            return super().forward(x)  # a compiler writes its own kernel
        if summed_roughly(x) and not torch.is_grad_enabled():
            return self.by(x, *statistics(x, self.num_groups))
        if not slow:
            return super().forward(x)
        weight, bias = self.weight.float(), self.bias.float()
        if torch.is_grad_enabled():
            out: Tensor = BackwardInFloat32.apply(x, weight, bias, self.num_groups, self.eps)  # type: ignore[no-untyped-call]
            return out
        return normalised(x, weight, bias, self.num_groups, self.eps)[0]

    def by(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """The norm by given statistics, (batch, groups) float64. x: (batch, width, h, w). Returns the same form."""
        mean, variance = (one.repeat_interleave(x.shape[1] // self.num_groups, 1) for one in (mean, variance))
        factor = self.weight.double() * (variance + self.eps).rsqrt()
        shift = self.bias.double() - mean * factor
        factor, shift = (one.to(x.dtype)[:, :, None, None] for one in (factor, shift))
        return torch.addcmul(shift, x, factor)


class BackwardInFloat32(torch.autograd.Function):
    """Group norm of a bfloat16 map whose gradient is computed in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:  # noqa: ANN401
        """x: (batch, width, h, w) bfloat16; weight, bias: (width,) float32. Returns the shape and dtype of x."""
        out, mean, rstd = normalised(x, weight, bias, groups, eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.groups = groups
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # noqa: ANN401
        """grad: of the output. Returns the gradients of x, weight and bias."""
        x, weight, mean, rstd = ctx.saved_tensors
        batch, width, height, wide = x.shape
        wide_grad, wide_x = (t.float().contiguous(memory_format=torch.channels_last) for t in (grad, x))
        dx, dweight, dbias = torch.ops.aten.native_group_norm_backward(
            wide_grad, wide_x, mean, rstd, weight, batch, width, height * wide, ctx.groups, [True, True, True]
        )
        return dx.to(x.dtype), dweight, dbias, None, None


def normalised(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The group norm of a bfloat16 map in its dtype, and the float32 mean and 1 / deviation of each group."""
    batch, width, height, wide = x.shape
    source = x.float() if height * wide < 1024 else x
    source = source.contiguous(memory_format=torch.channels_last)
    out, mean, rstd = torch.native_group_norm(source, weight, bias, batch, width, height * wide, groups, eps)
    return out.to(x.dtype), mean, rstd


def summed_roughly(x: Tensor) -> bool:
    """Whether torch's kernel adds up many float32 numbers of this map one by one."""
    ordered = x.is_contiguous(memory_format=torch.channels_last)
    return (
        ordered and x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[2] * x.shape[3] >= _LARGE
    )


def statistics(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of each group of a float32 map, (batch, groups) float64, from sums in float64."""
    batch, width, height, wide = x.shape
    shape = batch, groups, width // groups
    count = shape[2] * height * wide
    sums = torch.zeros(2, *shape, dtype=torch.float64)
    for rows in torch.split(x, max(1, _AT_ONCE // (width * wide)), dim=2):
        sums[0] += rows.sum((2, 3), dtype=torch.float64).view(shape)
        sums[1] += rows.square().sum((2, 3), dtype=torch.float64).view(shape)
    mean, square = sums.sum(3) / count
    return mean, (square - mean.square()).clamp(min=0.0)
