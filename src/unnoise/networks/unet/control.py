"""ControlNet (Zhang et al. 2023): a copy of a UNet's way down that reads a picture and steers the UNet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.errors import InputError
from unnoise.limits import Count, Declared
from unnoise.networks.unet.attention import CrossAttention, TextMemory
from unnoise.networks.unet.config import UNetConfig
from unnoise.networks.unet.picture_adapter import PictureAdapter
from unnoise.networks.unet.unet import Around, Question, Residuals, UNet, UNetOutput


@dataclass(frozen=True)
class ControlNetConfig(Declared):
    """What a ControlNet is made of.

    unet: of the network that it steers. hints: channels of the picture that it reads, and of each level that makes
    the picture as small as the latents; each level but the last halves it.
    """

    unet: UNetConfig
    hints: tuple[Count, ...] = (3, 16, 32, 96, 256)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.hints) < 2:
            raise InputError(f"hints is {self.hints}; give the picture's channels and those of each level.")


class ControlNet(UNet):
    """The way down of `UNet`, from x plus a picture's features to what is added to the UNet's skips and middle.

    Every addition goes through a 1x1 convolution that begins as zero, so that an untrained one steers nothing.
    """

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__(config.unet)
        del self.up_blocks, self.norm_out, self.conv_out
        self.cross_attentions = [layer for layer in self.modules() if isinstance(layer, CrossAttention)]
        picture, *widths = config.hints
        hint = [nn.Conv2d(picture, widths[0], 3, padding=1)]
        for narrow, wide in pairwise(widths):
            hint += [nn.Conv2d(narrow, narrow, 3, padding=1), nn.Conv2d(narrow, wide, 3, padding=1, stride=2)]
        self.hint = nn.ModuleList([*hint, zero(nn.Conv2d(widths[-1], config.unet.widths[0], 3, padding=1))])
        self.zero = nn.ModuleList(zero(nn.Conv2d(width, width, 1)) for width in config.unet.skips)
        self.zero_middle = zero(nn.Conv2d(config.unet.widths[-1], config.unet.widths[-1], 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def residuals(
        self, x: Tensor, time: Tensor | float, picture: Tensor, text: TextMemory | None, pooled: Tensor | None
    ) -> Residuals:
        """What is added to the UNet.

        x, time, pooled: as the UNet's. picture: (1 or batch, 3, height, width) in [0, 1], in pixels. text: this
        network's own `remember` of the prompts.
        """
        hint = picture.to(self.dtype).contiguous(memory_format=torch.channels_last)
        for layer in self.hint[:-1]:
            hint = F.silu(layer(hint))
        emb = self.embed(Question(x, time, text, pooled))
        middle, skips = self.descend(x, emb, text, self.hint[-1](hint))
        added = tuple(layer(skip) for layer, skip in zip(self.zero, skips, strict=True))
        return Residuals(added, self.zero_middle(middle))


class Guide(NamedTuple):
    """A ControlNet or T2I-Adapter at work: its picture, its strength, the times (after, up to) it is heard between."""

    network: ControlNet | PictureAdapter
    picture: Tensor
    strength: float
    after: float = -math.inf
    until: float = math.inf


class Steered(Around):
    """A UNet with ControlNets and T2I-Adapters beside it, to be called as the UNet alone; one for each run.

    heard: what they added at the last call.
    """

    spreads = False
    heard: Residuals | None = None

    def __init__(self, unet: UNet, guides: Sequence[Guide]) -> None:
        super().__init__(unet)
        self.networks = nn.ModuleList(guide.network for guide in guides)
        self.guides = list(guides)
        self._hearing: list[UNet] = [unet, *(g.network for g in guides if isinstance(g.network, ControlNet))]
        self._known: dict[int, Residuals] = {}

    def remember(self, text: Tensor, text_mask: Tensor | None = None) -> TextMemory:
        """Keys and values of the UNet's layers, then of each ControlNet's."""
        each = [network.remember(text, text_mask) for network in self._hearing]
        return TextMemory(tuple(layer for one in each for layer in one.layers), each[0].mask)

    def answer(self, asked: Question) -> UNetOutput:
        """As the UNet's, steered."""
        own, *shares = self._shares(asked.text)
        heard = dict(zip(self._hearing[1:], shares, strict=True))
        time, residuals = asked.time, asked.residuals
        now = float(time.flatten()[0]) if isinstance(time, Tensor) else float(time)
        for place, guide in enumerate(self.guides):
            if not guide.after < now <= guide.until:
                continue
            if isinstance(guide.network, ControlNet):
                text = heard[guide.network]
                found = guide.network.residuals(asked.x, time, guide.picture, text, asked.pooled)
            else:
                found = self._maps(place, guide.network, guide.picture)
            residuals = added(residuals, found, guide.strength)
        self.heard = residuals
        # as a module, for who watches or compiles the UNet
        return self.unet(asked.x, time, own, None, asked.pooled, asked.labels, residuals)

    def _maps(self, place: int, adapter: PictureAdapter, picture: Tensor) -> Residuals:
        """What the guide at this place adds, the same at every step."""
        if place not in self._known:
            levels = len(self.config.widths)
            maps = adapter(picture)
            middle = maps[levels] if len(maps) > levels else None
            self._known[place] = Residuals(middle=middle, levels=maps[:levels])
        return self._known[place]

    def _shares(self, memory: TextMemory | None) -> list[TextMemory | None]:
        """Each network's part of `memory`."""
        if memory is None:
            return [None] * len(self._hearing)
        layers = iter(memory.layers)
        each = (tuple(islice(layers, len(network.cross_attentions))) for network in self._hearing)
        return [TextMemory(own, memory.mask) for own in each]


def added(total: Residuals | None, more: Residuals, strength: float) -> Residuals:
    """The sum, with `more` strength times."""
    middle = None if more.middle is None else strength * more.middle
    total = Residuals() if total is None else total
    if total.middle is not None:
        middle = total.middle if middle is None else total.middle + middle
    return Residuals(
        _sum(total.skips, more.skips, strength), middle, _sum(total.levels, more.levels, strength)
    )


def _sum(total: tuple[Tensor, ...], more: tuple[Tensor, ...], strength: float) -> tuple[Tensor, ...]:
    scaled = tuple(strength * one for one in more)
    if not total or not scaled:
        return total or scaled
    return tuple(a + b for a, b in zip(total, scaled, strict=True))


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer, its numbers zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
