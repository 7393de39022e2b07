"""A UNet whose large layers multiply whole numbers of eight bits: r = s (q - z) (Jacob et al. 2018, eq. 1).

An approximation. The grid of a layer's inputs is fixed beforehand, from what the layer was given while pictures were
made (`Watch`), so that an answer depends on no other picture of its batch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.unet.unet import UNet

SUMS = ("shortcut", "downsample", "upsample")
"""Layers that stay in floats. They are given sums that no norm has seen, some of hundreds among others of ones, and are
little of the work. Rounded, shortcuts raise the error of an answer of `digits` by a third, of `emoji` by a sixteenth;
the other two more than double that of a miniature Stable Diffusion at pure noise.
"""
SMALL = ("time", "time_embedding", "pooled_embedding", "conv_in", "conv_out", "kv")
"""So do these, of a row or a few channels each, and what is made once a run: there is nothing to gain."""

Span = tuple[Tensor, Tensor]
"""The least and the largest number of each channel, and zero: low <= 0 <= high, (channels,) float32."""


@dataclass(frozen=True, eq=False)
class Spans:
    """What the layers of a network were given, by their names."""

    layers: Mapping[str, Span]

    @cached_property
    def digest(self) -> str:
        """A name for these numbers."""
        found = hashlib.sha256()
        for name, pair in sorted(self.layers.items()):
            found.update(name.encode() + b"".join(one.numpy().tobytes() for one in pair))
        return found.hexdigest()[:32]


class Watch:
    """Sees what the layers of a network are given, while the block lasts.

    with Watch(unet) as watch: make pictures; then watch.spans
    """

    def __init__(self, unet: UNet) -> None:
        self._seen: dict[str, Span] = {}
        self._unet = unet
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Watch:
        for name, layer in self._unet.named_modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)) and not _stays(name):

                def see(_: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
                    x = given[0].movedim(1 if given[0].ndim == 4 else -1, 0).flatten(1)
                    low, high = (one.float().cpu() for one in x.aminmax(dim=1))
                    known = self._seen.get(name, (torch.zeros_like(low),) * 2)
                    self._seen[name] = torch.minimum(low, known[0]), torch.maximum(high, known[1])

                self._hooks.append(layer.register_forward_pre_hook(see))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def spans(self) -> Spans:
        """Of all layers that were asked."""
        return Spans({name: (low.clone(), high.clone()) for name, (low, high) in self._seen.items()})


def _stays(name: str) -> bool:
    return any(part in SUMS or part in SMALL for part in name.split("."))


class Rounded(nn.Module):
    """A linear layer or convolution whose inputs and weights are of eight bits.

    y = W' (x / f), W' = W f, for a factor of each input channel that shares the difficulty out between the two: f =
    sqrt(max |x| / max |W|) of that channel (SmoothQuant, Xiao et al. 2023, eq. 4), else one channel of large numbers
    leaves few of the 256 values to the others. Then x / f becomes s (q - z), one step s and one zero z for all, q in
    0..255; what lies outside of the span becomes its end. W' becomes s_o q, a step for each output channel o, q in
    -127..127. Zero, which also stands around a map, is on both grids. For inputs within the span no output is further
    from the exact one than sum |W'| s / 2 + sum |x'| s_o / 2, x' being x / f on its grid.

    It computes in floats what a processor may compute in whole numbers: the products and sums are those.
    """

    steps: Tensor
    factor: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d, span: Span) -> None:
        super().__init__()
        self.layer = layer
        weight = layer.weight.detach()
        factor = _factor(span, weight.transpose(0, 1).flatten(1).abs().amax(1))
        self.register_buffer("factor", factor, persistent=False)
        scaled = weight * factor.view(1, -1, *[1] * (weight.ndim - 2))
        layer.weight = nn.Parameter(scaled, requires_grad=False)
        low, high = (float(end) for end in ((span[0] / factor).min(), (span[1] / factor).max()))
        # what was given nothing but zeros has a step too
        self.step = max((high - low) / 255, 1e-6)
        self.zero = min(255, max(0, math.floor(0.5 - low / self.step)))
        self.register_buffer(
            "steps", (scaled.flatten(1).abs().amax(1) / 127).clamp_min(1e-6), persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """As the layer's."""
        layer = self.layer
        x = x * (1 / (self.factor[:, None, None] if x.ndim == 4 else self.factor))
        x = torch.fake_quantize_per_tensor_affine(x, self.step, self.zero, 0, 255)
        zeros = torch.zeros(len(self.steps), dtype=torch.int32, device=x.device)
        weight = torch.fake_quantize_per_channel_affine(layer.weight, self.steps, zeros, 0, -127, 127)
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, layer.bias)
        return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)


def _factor(span: Span, weights: Tensor) -> Tensor:
    """About 1 on average. weights: the largest of each input channel. A channel of zeros counts as a small one."""
    inputs, weights = (
        each.clamp_min(max(float(each.max()) / 1000, 1e-12))
        for each in (torch.maximum(-span[0], span[1]), weights)
    )
    factor = (inputs / weights).sqrt()
    return factor / factor.mean()


def rounded(unet: UNet, spans: Spans) -> UNet:
    """The UNet, its layers that have a span made `Rounded` in place. It is to be in float32."""
    layers = dict(unet.named_modules())
    for name, span in spans.layers.items():
        parent, _, own = name.rpartition(".")
        layer = layers[name]
        assert isinstance(layer, (nn.Linear, nn.Conv2d))
        setattr(layers[parent], own, Rounded(layer, span))
    return unet


def plain(unet: UNet) -> UNet:
    """A UNet of layers of its own that share these weights; with those that live adapters change, as changed."""
    with torch.device("meta"):
        made = UNet(unet.config)
    made.load_state_dict(unet.state_dict(), assign=True)
    return made.eval().requires_grad_(False)
