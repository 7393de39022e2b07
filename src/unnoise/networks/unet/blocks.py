"""The three parts of a UNet (Ronneberger et al. 2015): DownBlock, MidBlock, UpBlock.

A down block is one level on the way to coarser feature maps; an up block is the same level on the way back,
where it reads what the down block left behind (the skips).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from unnoise.networks.unet.attention import AttentionBlock, TextMemory, as_many
from unnoise.networks.unet.config import UNetConfig
from unnoise.networks.unet.residual import Downsample, ResidualBlock, Upsample
from unnoise.networks.unet.transformer import SpatialTransformer


class DownBlock(nn.Module):
    """One level going down: residual blocks, attention after each if the level has it, then half the size.

    width: channels that come in. level: index into the configuration's tuples.
    """

    def __init__(self, config: UNetConfig, level: int, width: int) -> None:
        super().__init__()
        out, blocks, dropout = config.widths[level], config.blocks_at(level), config.dropout_at(level)
        self.residuals = nn.ModuleList(
            ResidualBlock(width if i == 0 else out, out, config, dropout) for i in range(blocks)
        )
        self.attentions = attentions(config, out, config.attention_at(level), blocks)
        last = level == len(config.widths) - 1
        self.downsample = None if last else resampler(config, out, dropout, "down")

    def forward(
        self, x: Tensor, emb: Tensor, memory: TextMemory | None, more: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """x: (batch, width, h, w). Returns the next level's input and the skips, finest first.

        more: added where the feature map has its size, before or after the size is halved.
        """
        skips = []
        for residual, attention in zip(self.residuals, self.attentions, strict=True):
            x = attention(residual(x, emb), memory)
            skips.append(x)
        if more is not None and more.shape[2:] == x.shape[2:]:
            x = skips[-1] = x + more
            more = None
        if self.downsample is not None:
            x = resample(self.downsample, x, emb)
            skips.append(x)
        if more is not None:
            x = skips[-1] = x + more
        return x, skips


class MidBlock(nn.Module):
    """The coarsest feature map: a residual block, attention, a residual block."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        width, dropout = config.widths[-1], config.dropout_at(-1)
        self.residual1 = ResidualBlock(width, width, config, dropout)
        self.attention = attentions(config, width, config.mid_attention, 1)[0]
        self.residual2 = ResidualBlock(width, width, config, dropout)

    def forward(self, x: Tensor, emb: Tensor, memory: TextMemory | None) -> Tensor:
        """x: (batch, width, h, w). Returns the same shape."""
        x = self.attention(self.residual1(x, emb), memory)
        return self.residual2(x, emb)


class UpBlock(nn.Module):
    """One level going up: as `DownBlock`, but each residual block reads one skip; then twice the size.

    width: channels that come in. skips: channels of the skips in the order in which they are read.
    """

    def __init__(self, config: UNetConfig, level: int, width: int, skips: list[int]) -> None:
        super().__init__()
        out, dropout = config.widths[level], config.dropout_at(level)
        self.residuals = nn.ModuleList(
            ResidualBlock((width if i == 0 else out) + skip, out, config, dropout)
            for i, skip in enumerate(skips)
        )
        self.attentions = attentions(config, out, config.attention_at(level), len(skips))
        self.upsample = None if level == 0 else resampler(config, out, dropout, "up")

    def forward(self, x: Tensor, skips: list[Tensor], emb: Tensor, memory: TextMemory | None) -> Tensor:
        """x: (batch, width, h, w); takes its skips from the list's end. Returns the finer level's input.

        That has the size of the skip which is read next: twice this level's, or less one where half was rounded up.
        """
        for residual, attention in zip(self.residuals, self.attentions, strict=True):
            x = attention(residual(beside(x, skips.pop()), emb), memory)
        if isinstance(self.upsample, Upsample):
            x = self.upsample(x, tuple(skips[-1].shape[2:]))
        elif self.upsample is not None:
            x = resample(self.upsample, x, emb)
        return x


class NoAttention(nn.Module):
    """Stands where a level has no attention, so that all levels read alike."""

    def forward(self, x: Tensor, memory: TextMemory | None) -> Tensor:
        """x, unchanged."""
        return x


def attentions(config: UNetConfig, width: int, depth: int, count: int) -> nn.ModuleList:
    """`count` attentions of the kind and depth that the configuration asks for."""
    heads, groups = config.heads_of(width), config.norm_groups

    def one() -> nn.Module:
        if depth == 0:
            return NoAttention()
        if config.text_width:
            return SpatialTransformer(width, depth, heads, config.text_width, groups)
        return AttentionBlock(width, heads, groups, config.norm_eps)

    return nn.ModuleList(one() for _ in range(count))


def resampler(config: UNetConfig, width: int, dropout: float, way: Literal["down", "up"]) -> nn.Module:
    """What halves or doubles the size between two levels."""
    if config.resample == "residual":
        return ResidualBlock(width, width, config, dropout, resize=way)
    return Upsample(width) if way == "up" else Downsample(width, same=config.resample == "conv_same")


def resample(layer: nn.Module, x: Tensor, emb: Tensor) -> Tensor:
    """A change of size; residual blocks read the time as well."""
    return layer(x, emb) if isinstance(layer, ResidualBlock) else layer(x)


def beside(x: Tensor, skip: Tensor) -> Tensor:
    """The channels of x, then those of the skip, which may have been made before the text was heard."""
    return torch.cat((x, as_many(skip, x.shape[0])), dim=1)
