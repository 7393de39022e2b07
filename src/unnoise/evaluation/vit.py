"""The vision transformer (Dosovitskiy et al. 2021), also with registers (Darcet et al. 2024) and LayerScale."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.text_encoder import SelfAttention

_EPS = 1e-6


class Block(nn.Module):
    """Attention, then two feed-forward layers, each on a normed copy and added to the stream."""

    def __init__(self, width: int, heads: int, hidden: int, scaled: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=_EPS), nn.LayerNorm(width, eps=_EPS)
        self.attn = SelfAttention(width, heads)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.ls1, self.ls2 = (nn.Parameter(torch.ones(width)) if scaled else None for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, tokens, width), likewise the answer."""
        y = self.attn(self.norm1(x), None, False)
        x = x + (y if self.ls1 is None else self.ls1 * y)
        y = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        out: Tensor = x + (y if self.ls2 is None else self.ls2 * y)
        return out


class ViT(nn.Module):
    """Normalised pictures -> the class token after the last norm; where there is none, the mean of the patches.

    hidden: width of the feed-forward layers. patch: side of one, in pixels; side: how many along a picture's side.
    classes, registers: tokens before the patches, of which the first stands for the picture and the others for nothing.
    placed: these have positions too. scaled: with LayerScale. pool_first: patches are averaged before the last norm.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, depth: int, patch: int, side: int,
        classes: int, registers: int, placed: bool, scaled: bool, pool_first: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.extra, self.placed, self.pool_first = classes + registers, placed, pool_first
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if classes else None
        self.reg_token = nn.Parameter(torch.zeros(1, registers, width)) if registers else None
        self.pos_embed = nn.Parameter(torch.zeros(1, side**2 + placed * self.extra, width))
        self.blocks = nn.Sequential(*(Block(width, heads, hidden, scaled) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 3, patch * side, patch * side) -> (batch, width)."""
        x = self.patch(x).flatten(2).transpose(1, 2)
        extra = [t.expand(len(x), -1, -1) for t in (self.cls_token, self.reg_token) if t is not None]
        if not self.placed:
            x = x + self.pos_embed
        x = torch.cat([*extra, x], 1)
        x = self.blocks(x + self.pos_embed if self.placed else x)
        if self.pool_first:
            out: Tensor = self.norm(x[:, self.extra :].mean(1))
            return out
        x = self.norm(x)
        return x[:, self.extra :].mean(1) if self.cls_token is None else x[:, 0]
