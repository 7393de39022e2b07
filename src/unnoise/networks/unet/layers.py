"""Linear layers over tokens and convolutions: by the fastest kernel, and nothing kept that no gradient needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.hardware import has_kernels, multiplies_tiles
from unnoise.networks.unet.in_place import plus

_FEW = 512
"""Pixels of a batch up to which, and channels from which, a 3x3 convolution is faster as a product."""


_LIGHT = {"linear": 2**18, "convolution": 2**21}
"""Numbers of a weight up to which it is kept a second time, as the kernel reads it."""


class Kept:
    """What a kernel needs of a weight, kept until the weight changes. Copies of a layer make their own."""

    def __init__(self) -> None:
        self._known: tuple[Tensor, tuple[object, ...], Tensor] | None = None

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()

    def __call__(self, weight: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """What `make` gives of the weight as it is. One of inference is none to give: it does not tell of changes."""
        known, now = self._known, (weight._version, weight.data_ptr(), weight.dtype)
        if known is None or known[0] is not weight or known[1] != now:
            self._known = known = weight, now, make(weight.detach())
        return known[2]


class Linear(nn.Linear):
    """`nn.Linear` by `product`, where that serves the input."""

    def __init__(self, *shape: Any, **options: Any) -> None:  # noqa: ANN401 - nn.Linear's own
        super().__init__(*shape, **options)
        self._kept = Kept()

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., width). Returns (..., out)."""
        if fuses(x):
            return product(x, self.laid_out(), self.bias)
        return F.linear(x, self.weight, self.bias)

    def laid_out(self) -> Tensor:
        """The weight for `product`: a small one as the kernel reads it, which else is made of it at every call."""
        if self.weight.numel() > _LIGHT["linear"] or self.weight.is_inference():
            return self.weight
        return self._kept(self.weight, torch.ops.mkldnn._reorder_linear_weight)


class TokenLinear(Linear):
    """`Linear` for (batch, n, width) tokens, in float32 by the faster kernel: a product, or a 1x1 convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, n, width). Returns (batch, n, out)."""
        wide = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if not wide or _small(x) or (not followed() and multiplies_tiles()):
            return super().forward(x)
        # The float32 product behind F.linear is Intel's: on AMD's processors it takes two to four times as long as
        # this, on Intel's with AMX as long or, of few tokens and large weights, half.
        picture = x.transpose(1, 2).unsqueeze(2)
        return convolved(picture, self.weight[:, :, None, None], self.bias).squeeze(2).transpose(1, 2)


class Convolution(nn.Conv2d):
    """`nn.Conv2d` of one group, undilated, with zeros around the map. It takes less memory where it does not learn.

    In bfloat16 on a processor a weight that is not large is laid out for the kernel once. torch does it at every call,
    which takes longer than the arithmetic where the map is small: 256 channels at 4x4, 0.21 against 0.06 ms.
    """

    def __init__(self, *shape: Any, **options: Any) -> None:  # noqa: ANN401 - nn.Conv2d's own
        super().__init__(*shape, **options)
        self._kept = Kept()

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, width, h, w). Returns (batch, out, h', w')."""
        assert not isinstance(self.padding, str)
        if fuses(x) and self.weight.numel() <= _LIGHT["convolution"] and not self.weight.is_inference():
            return self._laid_out(x)
        return convolved(x, self.weight, self.bias, self.stride, self.padding)

    def _laid_out(self, x: Tensor) -> Tensor:
        geometry = list(self.padding), list(self.stride), [1, 1], 1
        weight = self._kept(
            self.weight, lambda plain: torch._C._nn.mkldnn_reorder_conv2d_weight(plain.to_mkldnn(), *geometry)
        )
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, self.bias, *geometry, "none", [], "")
        return out


def convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
) -> Tensor:
    """x: (batch, width, h, w); weight: (out, width, rows, columns). Returns (batch, out, h', w')."""
    if followed():
        return F.conv2d(x, weight, bias, list(stride), list(padding))
    if fuses(x) and _few(x, weight, stride, padding):
        return _over_few(x, weight, bias)
    geometry = list(stride), list(padding), [_dilation(x, weight)] * 2
    if worth_forgetting(x) and not _learns(x, weight, bias):
        through: Tensor = Unlearned.apply(x, weight, bias, *geometry)  # type: ignore[no-untyped-call]
        return through
    return F.conv2d(x, weight, bias, *geometry)


def fuses(x: Tensor) -> bool:
    """Whether `product` serves x: bfloat16 on a processor that multiplies it, in inference mode.

    Without a gradient alone is not enough: these kernels have no forward derivative either.
    """
    if followed() or x.dtype != torch.bfloat16 or x.device.type != "cpu":
        return False
    alone = torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")
    return alone and has_kernels(torch.bfloat16)


def product(
    x: Tensor, weight: Tensor, bias: Tensor | None, other: Tensor | None = None, how: str = "add"
) -> Tensor:
    """What a linear layer gives, added to `other` or multiplied with it (`how` is "mul"), and rounded once.

    torch's own writes the bias first, reads it again, and is read again by what follows: 8192 tokens from width 320 to
    2560, 10.8 against 4.2 ms. x: (..., width); other: (..., out), read alone.
    """
    made: Tensor
    if other is None:
        made = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    else:
        made = torch.ops.mkldnn._linear_pointwise.binary(x, other, weight, bias, how)
    return made


def added(layer: nn.Module, x: Tensor, other: Tensor | None) -> Tensor:
    """layer(x) + other, in one pass where that can be. x: (..., width). other: (..., out), or nothing."""
    if other is None:
        alone: Tensor = layer(x)
        return alone
    if fuses(x) and unwatched(layer):
        return product(x, layer.laid_out(), layer.bias, other)
    return plus(layer(x), other)


def unwatched(layer: nn.Module) -> TypeGuard[TokenLinear]:
    """Whether it is the plain layer, which nobody looks at: no adapter stands in its place, nothing hooks it."""
    return type(layer) is TokenLinear and not (layer._forward_hooks or layer._forward_pre_hooks)


def _few(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> bool:
    """Whether to lay out the weight, as torch's convolution does at each call, would cost more than the map."""
    plain = weight.shape[2:] == (3, 3) and tuple(stride) == tuple(padding) == (1, 1)
    return plain and x.numel() <= _FEW * x.shape[1] and x.shape[1] >= _FEW


def _over_few(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 3x3 convolution as one product of the weight with each pixel's nine, as they lie in channels-last memory.

    1280 channels, 8x8, two pictures: 5.0 against 2.6 ms; 2560 channels 12.6 against 5.5.
    """
    batch, width, height, wide = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    each, row, pixel, channel = padded.stride()
    nine = padded.as_strided(
        (batch, height, wide, 3, 3, width), (each, row, pixel, row, pixel, channel)
    ).reshape(batch, height, wide, 9 * width)
    return product(nine, weight.permute(0, 2, 3, 1).flatten(1), bias).permute(0, 3, 1, 2)


class Unlearned(torch.autograd.Function):
    """A convolution whose weights do not learn: its gradient needs them alone, and so its input is not kept.

    torch keeps it for a gradient of the weights that nobody asks for. A LoRA of Stable Diffusion 1.5, 512x512, float32,
    one picture: half a gigabyte less.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: list[int],
        padding: list[int],
        dilation: list[int],
    ) -> Tensor:
        """Arguments and result as F.conv2d's."""
        return F.conv2d(x, weight, bias, stride, padding, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401 - torch's own
        """Keep the weights, and of the input its shape."""
        x, weight, _, *ctx.geometry = inputs
        last = x.is_contiguous(memory_format=torch.channels_last)
        ctx.shape, ctx.order = x.shape, torch.channels_last if last else torch.contiguous_format
        ctx.save_for_backward(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """grad: of the output. Returns the gradient of x."""
        (weight,) = ctx.saved_tensors
        shaped = torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device, memory_format=ctx.order)
        wanted = [True, False, False]
        dx, _, _ = torch.ops.aten.convolution_backward(
            grad, shaped, weight, None, *ctx.geometry, False, [0, 0], 1, wanted
        )
        return dx, None, None, None, None, None


def worth_forgetting(x: Tensor) -> bool:
    """Whether x is a large map that gradients go through: for small ones a function in Python costs too much."""
    return x.numel() >= 2**19 and x.requires_grad and torch.is_grad_enabled() and not followed()


def followed() -> bool:
    """Whether a compiler or a tracer looks on, which wants the plain operation."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]


def _learns(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the layer does; autocast, whose copy of the weight is a new one at each call, counts as yes."""
    learned = weight.requires_grad or (bias is not None and bias.requires_grad)
    return learned or torch.is_autocast_enabled(x.device.type)


def _dilation(x: Tensor, weight: Tensor) -> int:
    """2 where that is the faster kernel, 1 elsewhere; of a convolution of one pixel the result is the same.

    With one thread torch keeps oneDNN's kernel, which is twice as fast, for larger convolutions and dilated ones.
    """
    pixel = weight.shape[2] == weight.shape[3] == 1
    return 2 if pixel and x.device.type == "cpu" and torch.get_num_threads() == 1 and not _small(x) else 1


def _small(x: Tensor) -> bool:
    """Whether torch convolves this float32 batch by a loop of its own, whatever the threads: one small picture."""
    return len(x) == 1 and x.numel() <= 20480
