"""A UNet whose large layers multiply whole numbers of eight bits: r = s (q - z) (Jacob et al. 2018, eq. 1).

An approximation. The grid of a layer's inputs is fixed beforehand, from what the layer was given while pictures were
made (`Watch`), so that an answer depends on no other picture of its batch.
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name every PyTorch reader knows

from unnoise.networks.unet.residual import Upsample
from unnoise.networks.unet.unet import UNet

FLOATS = ("time", "time_embedding", "pooled_embedding", "conv_in", "conv_out", "shortcut")
"""Parts that stay in floats. Shortcuts are given sums that no norm has seen, a few channels of which are tens of times as
large as the rest, and lead past everything else: on `digits` 2 of the 10 give half of the error that there would be,
for a tenth of the products. The others are a row or a few channels each, so that nothing is gained.
"""


class Range(NamedTuple):
    """The least and the largest number that a layer was given, and zero: low <= 0 <= high."""

    layer: str
    low: float
    high: float


Ranges = tuple[Range, ...]


class Watch:
    """Sees what the layers of a network are given, while the block lasts.

    with Watch(unet) as watch: make pictures; then watch.ranges
    """

    def __init__(self, unet: UNet) -> None:
        self._seen: dict[str, tuple[float, float]] = {}
        self._unet = unet
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Watch:
        for name, layer in self._unet.named_modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear, Upsample)) and not _stays(name):

                def see(_: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
                    low, high = self._seen.get(name, (0.0, 0.0))
                    least, most = given[0].aminmax()
                    self._seen[name] = min(low, float(least)), max(high, float(most))

                self._hooks.append(layer.register_forward_pre_hook(see))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def ranges(self) -> Ranges:
        """Of all layers that were asked, in the order of their names."""
        return tuple(Range(name, *self._seen[name]) for name in sorted(self._seen))


def _stays(name: str) -> bool:
    return any(part in FLOATS for part in name.split("."))


class Rounded(nn.Module):
    """A linear layer or convolution whose inputs and weights are of eight bits.

    Inputs: s (q - z), one step s = (high - low) / 255 and one zero z for all of them, q in 0..255; what lies outside of
    the range becomes its end. Weights: s_o q, a step for each output channel o, the largest weight over 127, q in
    -127..127. Zero, which is also what stands around a map, is on both grids. For inputs within the range no output
    is further from the exact one than sum |w| s / 2 + sum |x'| s_o / 2, x' being the inputs on their grid.

    It computes in floats what a processor may compute in whole numbers: the products and sums are those.
    """

    steps: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, low: float, high: float) -> None:
        super().__init__()
        self.layer = layer
        self.axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        # in float16, as the numbers of an export are kept, a step must not become 0
        self.step = max((high - low) / 255, 1e-6)
        self.zero = min(255, max(0, math.floor(0.5 - low / self.step)))
        rows = layer.weight.detach().float().transpose(0, self.axis).flatten(1)
        self.register_buffer("steps", (rows.abs().amax(1) / 127).clamp_min(1e-6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer's."""
        layer = self.layer
        x = torch.fake_quantize_per_tensor_affine(x, self.step, self.zero, 0, 255)
        zeros = torch.zeros(len(self.steps), dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(layer.weight, self.steps, zeros, self.axis, -127, 127)
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, layer.bias)
        if isinstance(layer, nn.ConvTranspose2d):
            # doubling, as `phases` has it
            return F.conv_transpose2d(x, weight, layer.bias, stride=2, padding=1)
        return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)


def rounded(unet: UNet, ranges: Ranges) -> UNet:
    """The UNet, its layers that have a range made `Rounded` in place. It is to be in float32."""
    layers = dict(unet.named_modules())
    for name, low, high in ranges:
        layer = layers[name]
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            parent, _, own = name.rpartition(".")
            setattr(layers[parent], own, Rounded(layer, low, high))
    return unet


def plain(unet: UNet) -> UNet:
    """A UNet of layers of its own that share these weights; with those that live adapters change, as changed."""
    with torch.device("meta"):
        made = UNet(copy.deepcopy(unet.config))
    made.load_state_dict(unet.state_dict(), assign=True)
    return made.eval().requires_grad_(False)
