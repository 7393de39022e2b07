"""Group normalisation (Wu and He 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.unet.in_place import silu
from unnoise.networks.unet.layers import followed

_LARGE = 2**14
"""Pixels from which float32 sums over a channels-last map are made in float64."""
_AT_ONCE = 2**20
"""Numbers that are squared at a time: what the caches hold."""
_PIECE = 2**19
"""Numbers of a map that are in float32 at a time, with as many of its norm and of either gradient."""


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, in parts computed in float32 where its bfloat16 kernels are the slower ones.

    On a CPU, the channels-last bfloat16 kernels are vectorised only over 16 channels of a group and more; with fewer,
    float32 is faster, conversions included: forward below 1024 pixels (256 channels in 32 groups, 16x16, 8 pictures:
    0.4 ms against 1.6), with its gradient always (see `Piecewise`). Those of float32 add up the pixels one by one,
    which on large maps costs a digit: there, without a gradient, the sums are made in float64.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, width, h, w). Returns the same shape and dtype."""
        if not followed():  # a compiler writes its own kernel
            slow, learns = self._slow(x), torch.is_grad_enabled()
            if slow and learns:
                return self._learned(x, active=False)
            if not learns and summed_roughly(x):
                return self.by(x, *statistics(x, self.num_groups))
            if slow:
                return normalised(x, self.weight.float(), self.bias.float(), self.num_groups, self.eps)
        # nn.GroupNorm's own forward refuses a group of a single number, whose norm is its bias
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def activated(self, x: Tensor) -> Tensor:
        """SiLU of the norm. x: (batch, width, h, w). Returns the same shape and dtype."""
        if torch.is_grad_enabled() and self._slow(x) and not followed():
            return self._learned(x, active=True)
        return silu(self(x))

    def _slow(self, x: Tensor) -> bool:
        few_channels = x.shape[1] < 16 * self.num_groups
        return few_channels and x.dtype == torch.bfloat16 and x.device.type == "cpu"

    def _learned(self, x: Tensor, active: bool) -> Tensor:
        return Piecewise.apply(  # type: ignore[no-untyped-call]
            x, self.weight.float(), self.bias.float(), self.num_groups, self.eps, active
        )

    def by(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """The norm by given statistics, (batch, groups) float64. x: (batch, width, h, w). Returns the same form."""
        mean, variance = (one.repeat_interleave(x.shape[1] // self.num_groups, 1) for one in (mean, variance))
        factor = self.weight.double() * (variance + self.eps).rsqrt()
        shift = self.bias.double() - mean * factor
        factor, shift = (one.to(x.dtype)[:, :, None, None] for one in (factor, shift))
        return torch.addcmul(shift, x, factor)


class Piecewise(torch.autograd.Function):
    """Group norm, and SiLU after it, of a bfloat16 map: in float32, some pictures at a time, rounded once.

    Nothing but the map itself is kept for the gradient, which makes the norm again from its statistics. For the norms
    of the CIFAR-10 UNet, 16 pictures, forward and back on one thread: 135 against 179 ms of torch's two kernels with
    whole maps in float32, whose output is a third of what a step keeps.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        groups: int,
        eps: float,
        active: bool,
    ) -> Tensor:
        """x: (batch, width, h, w) bfloat16; weight, bias: (width,) float32. Returns the shape and dtype of x."""
        x = x.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(x)
        moments = []
        for part, into in zip(pieces(x), pieces(out), strict=True):
            made, *found = torch.native_group_norm(part.float(), weight, bias, *_sizes(part), groups, eps)
            into.copy_(F.silu(made, inplace=True) if active else made)
            moments.append(found)
        mean, rstd = (torch.cat(each) for each in zip(*moments, strict=True))
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.groups, ctx.active = groups, active
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """grad: of the output. Returns the gradients of x, weight and bias."""
        x, weight, bias, mean, rstd = ctx.saved_tensors
        out, dweight, dbias = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)
        done = 0
        for part, into, given in zip(pieces(x), pieces(out), pieces(grad), strict=True):
            some = slice(done, done + len(part))
            wide, back = part.float(), given.float().contiguous(memory_format=torch.channels_last)
            if ctx.active:
                made = _again(wide, weight, bias, mean[some], rstd[some])
                back = torch.ops.aten.silu_backward.grad_input(back, made, grad_input=made)
            dx, more, shift = torch.ops.aten.native_group_norm_backward(
                back, wide, mean[some], rstd[some], weight, *_sizes(part), ctx.groups, [True, True, True]
            )
            into.copy_(dx)
            dweight += more
            dbias += shift
            done += len(part)
        return out, dweight, dbias, None, None, None


def pieces(x: Tensor) -> tuple[Tensor, ...]:
    """The map in stretches of whole pictures that the caches hold in float32."""
    return torch.split(x, max(1, _PIECE // x.shape[1:].numel()))


def _sizes(x: Tensor) -> tuple[int, int, int]:
    batch, width, height, wide = x.shape
    return batch, width, height * wide


def _again(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """The group norm by the statistics that it had."""
    per_group = x.shape[1] // mean.shape[1]
    factor = rstd.repeat_interleave(per_group, 1) * weight
    shift = bias - mean.repeat_interleave(per_group, 1) * factor
    return torch.addcmul(shift[:, :, None, None], x, factor[:, :, None, None])


def normalised(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    """The group norm of a bfloat16 map, without a gradient, in its dtype."""
    source = x.float() if x.shape[2] * x.shape[3] < 1024 else x
    source = source.contiguous(memory_format=torch.channels_last)
    return torch.native_group_norm(source, weight, bias, *_sizes(x), groups, eps)[0].to(x.dtype)


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
    sums = torch.zeros(2, *shape, dtype=torch.float64, device=x.device)
    for rows in torch.split(x, max(1, _AT_ONCE // (width * wide)), dim=2):
        sums[0] += rows.sum((2, 3), dtype=torch.float64).view(shape)
        sums[1] += rows.square().sum((2, 3), dtype=torch.float64).view(shape)
    mean, square = sums.sum(3) / count
    return mean, (square - mean.square()).clamp(min=0.0)
