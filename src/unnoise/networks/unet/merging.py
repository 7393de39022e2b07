"""Tokens that are alike attend as one (token merging, Bolya & Hoffman 2023): attention over fewer of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.unet.attention import AttentionBlock, SelfAttention, TextMemory
from unnoise.networks.unet.blocks import DownBlock, UpBlock
from unnoise.networks.unet.in_place import plus
from unnoise.networks.unet.reuse import replaced
from unnoise.networks.unet.transformer import SpatialTransformer, TransformerBlock
from unnoise.networks.unet.unet import UNet
from unnoise.randomness import generator

MOST = 0.75
"""The largest share: three tokens of each 2x2."""

_SCORES = 2**22  # similarities at a time: 16 MB


class Homes(NamedTuple):
    """Which merged token each token is a part of: (batch, n) int64, each of 0 to left - 1 at least once a row."""

    of: Tensor
    left: int

    def flat(self) -> Tensor:
        """The same in all rows' merged tokens, one after another: (batch * n)."""
        first = torch.arange(len(self.of), device=self.of.device)[:, None] * self.left
        return (self.of + first).flatten()


@dataclass(eq=False)
class Merging:
    """What the merged attentions of one run share.

    share: of the tokens that are merged into others, 0 to `MOST`. least: merge where there are at least so many tokens;
    0: at the finest level that attends, whatever their number. look: which look of the run this is; with another look
    other tokens are kept. size: height and width of the feature map at hand.
    """

    share: float
    least: int = 0
    look: int = 0
    size: tuple[int, int] = (0, 0)

    def homes(self, x: Tensor) -> Homes | None:
        """Who is merged with whom; None where none is.

        x: (batch, n, width), tokens of a feature map of `size`, row by row.
        """
        wanted = int(self.share * x.shape[1])
        if not wanted or x.shape[1] < self.least:
            return None
        kept, others = windows(*self.size, self.look, x.device)
        gone = min(wanted, len(others))
        if not gone:
            return None
        # each alone: a product over the batch would be summed in another order than that of one picture
        return Homes(torch.stack([_homes(row, kept, others, gone) for row in x]), x.shape[1] - gone)


# the attentions of one look ask alike; drawn for each, 270 us of 64x64 places every time
@lru_cache(maxsize=8)
@torch.inference_mode(False)
def windows(height: int, width: int, look: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Of each 2x2 the token that is kept, and all others: int64 on this device, places of the map read row by row.

    One of the four is drawn anew for each look and each 2x2, from nothing but these arguments: a fixed corner would
    leave its grid in the picture (of `emoji` half as large an error again as this), and another one for each half of a
    guided answer would pull them apart.
    Where a side is odd, its last windows are smaller.
    """
    rows, columns = -(-height // 2), -(-width // 2)
    corner = torch.randint(4, (rows, columns), generator=generator(0, "merge", look), device="cpu")
    down = 2 * torch.arange(rows, device="cpu")[:, None] + corner // 2
    right = 2 * torch.arange(columns, device="cpu") + corner % 2
    kept = (down.clamp(max=height - 1) * width + right.clamp(max=width - 1)).flatten()
    left = torch.ones(height * width, dtype=torch.bool, device="cpu")
    left[kept] = False
    return kept.to(device), left.nonzero().flatten().to(device)


def _homes(x: Tensor, kept: Tensor, others: Tensor, gone: int) -> Tensor:
    """`Homes.of` one map: each other token is matched to the kept one nearest in angle, the best are merged.

    The product that finds the match is in the dtype of x. In bfloat16 its numbers near 1 are 0.004 apart, so that most
    would be equal and the first, at the top of the picture, be merged; who is merged is decided in float32.
    """
    unit = F.normalize(x.float(), dim=-1)
    narrow = unit.to(x.dtype)
    known = narrow[kept].T
    parts = torch.split(narrow[others], max(1, _SCORES // len(kept)))
    match = torch.cat([(part @ known).max(dim=-1).indices for part in parts])  # argmax: five times as long
    alike = (unit[others] * unit[kept[match]]).sum(dim=-1)
    order = alike.argsort(descending=True, stable=True)
    merged, alone = order[:gone], order[gone:]
    home = torch.empty(len(x), dtype=torch.int64, device=x.device)
    home[kept] = torch.arange(len(kept), device=x.device)
    home[others[alone]] = torch.arange(len(kept), len(kept) + len(alone), device=x.device)
    home[others[merged]] = match[merged]
    return home


def merge(x: Tensor, homes: Homes) -> tuple[Tensor, Tensor]:
    """The means of the tokens of each home, (batch, m, width), and how many they are, (batch, m) in float32.

    x: (batch, n, width).
    """
    batch, _, width = x.shape
    flat = homes.flat()
    total = torch.zeros(batch * homes.left, width, dtype=torch.float32, device=x.device)
    many = torch.zeros(batch * homes.left, dtype=torch.float32, device=x.device)
    many.index_add_(0, flat, torch.ones_like(flat, dtype=torch.float32))
    if x.is_cuda:  # this one sorts first; there index_add_ sums in an order that is another each time
        total.index_put_((flat,), x.flatten(0, 1).float(), accumulate=True)
    else:
        total.index_add_(0, flat, x.flatten(0, 1).float())
    means = (total / many[:, None]).to(x.dtype)
    return means.view(batch, homes.left, width), many.view(batch, homes.left)


def unmerge(x: Tensor, homes: Homes) -> Tensor:
    """To each token what its home has: (batch, m, width) -> (batch, n, width)."""
    return x.flatten(0, 1)[homes.flat()].view(*homes.of.shape, x.shape[-1])


class MergedAttention(nn.Module):
    """A self-attention over merged tokens: softmax(Q K^T / sqrt(d) + log s) V, s the number that each stands for.

    So tokens that are equal are attended to as before, and merging them changes nothing but rounding (proportional
    attention, Bolya et al. 2023, eq. 1).
    """

    def __init__(self, attention: SelfAttention, work: Merging) -> None:
        super().__init__()
        self.attention = attention
        self.work = work

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """As the attention's."""
        homes = self.work.homes(x)
        if homes is None:
            return self.attention(x, onto)
        few, many = merge(x, homes)
        out = unmerge(self.attention(few, bias=many.log().to(x.dtype)), homes)
        return out if onto is None else plus(out, onto)


class Sized(nn.Module):
    """An attention over a feature map that tells the run the map's size."""

    def __init__(self, block: nn.Module, work: Merging) -> None:
        super().__init__()
        self.block = block
        self.work = work

    def forward(self, x: Tensor, memory: TextMemory | None) -> Tensor:
        """As the block's."""
        self.work.size = x.shape[2], x.shape[3]
        return self.block(x, memory)


def with_merging(unet: UNet, work: Merging) -> UNet:
    """The UNet, of the same layers, whose self-attentions merge tokens as the run's `work` says."""
    config = unet.config
    finest = next((level for level in range(len(config.widths)) if config.attention_at(level)), None)

    def level(block: nn.Module, place: int) -> nn.Module:
        if not work.least and place != finest:
            return block
        assert isinstance(block, DownBlock | UpBlock)
        return replaced(block, attentions=nn.ModuleList(_merged(one, work) for one in block.attentions))

    down = [level(block, place) for place, block in enumerate(unet.down_blocks)]
    up = [level(block, len(down) - 1 - place) for place, block in enumerate(unet.up_blocks)]
    middle = unet.mid_block
    if work.least or finest is None:
        middle = replaced(middle, attention=_merged(middle.attention, work))
    return replaced(unet, down_blocks=nn.ModuleList(down), mid_block=middle, up_blocks=nn.ModuleList(up))


def _merged(block: nn.Module, work: Merging) -> nn.Module:
    if isinstance(block, AttentionBlock):
        return Sized(replaced(block, attention=MergedAttention(block.attention, work)), work)
    if not isinstance(block, SpatialTransformer):
        return block
    blocks = [one for one in block.blocks if isinstance(one, TransformerBlock)]
    merged = (replaced(one, self_attention=MergedAttention(one.self_attention, work)) for one in blocks)
    return Sized(replaced(block, blocks=nn.ModuleList(merged)), work)
