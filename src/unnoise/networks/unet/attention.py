"""Attention: softmax(Q K^T / sqrt(d)) V (Vaswani et al. 2017, eq. 1), over pixels and over text."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.hardware import multiplies_tiles
from unnoise.networks.unet.layers import TokenLinear, added, followed
from unnoise.networks.unet.norm import GroupNorm

_REGISTER = 16
"""Numbers that a processor computes with at a time."""


class TextMemory(NamedTuple):
    """Keys and values of a prompt for every cross-attention of one UNet, made by `UNet.remember`.

    layers: one (keys, values) a layer, each (batch, heads, tokens, head width).
    mask: (batch, 1, 1, tokens) bool, True where a token may be read; None where all may.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor | None


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of every head, side by side.

    q: (batch, heads, n, d); k, v: (batch, heads, m, d). mask: (batch or 1, 1, 1, m), True where a key may be read; or
    numbers, which are added to its scores. Returns (batch, n, heads * d).
    """
    if tiles_are_faster(q):
        k, v, mask = filled(k, v, mask)
    elif batched_is_faster(q, k):
        scores = q @ (k * q.shape[-1] ** -0.5).transpose(-1, -2)
        if mask is not None:
            heed(scores, mask)
        # softmax sums in float32 whatever its dtype
        return (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    elif blocks_are_faster(q, k):
        return in_blocks(q, k, v, mask)
    if not followed():  # one prompt for a whole batch has no fast kernel
        k, v = (one.expand(q.shape[0], -1, -1, -1) for one in (k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out.transpose(1, 2).flatten(2)


def heed(scores: Tensor, mask: Tensor) -> None:
    """Apply the mask of `attend` to scores, in place."""
    if mask.dtype == torch.bool:
        scores.masked_fill_(~mask, -torch.inf)
    else:
        scores.add_(mask)


def batched_is_faster(q: Tensor, k: Tensor) -> bool:
    """Whether two matrix products beat torch's blockwise attention: in bfloat16 on a CPU, if the scores stay small.

    One head of width 256 over 256 pixels: 0.29 against 0.74 ms; 16 pictures with their gradients: 13 against 35 ms.
    The rounding error is twice as large, 4e-3 of the result against 2e-3.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return False
    batch, heads, n, _ = q.shape
    scores = n * k.shape[2]
    return scores <= 2**19 and batch * heads * scores >= 2**12


def blocks_are_faster(q: Tensor, k: Tensor) -> bool:
    """Whether `in_blocks` beats torch's attention: of many scores, without a gradient, in bfloat16 on a CPU."""
    return _forgetful(q) and q.shape[2] * k.shape[2] > 2**19


def tiles_are_faster(q: Tensor) -> bool:
    """Whether torch's attention beats both, in bfloat16 without a gradient: with AMX, for which it is written.

    4096 pixels and 8 heads of width 40, two pictures: 91 against 188 ms in blocks.
    """
    return _forgetful(q) and multiplies_tiles()


def _forgetful(q: Tensor) -> bool:
    here = q.device.type == "cpu" and q.dtype == torch.bfloat16 and not torch.is_grad_enabled()
    return here and not followed()  # a compiler has its own kernel, and would unroll a loop


def filled(k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same keys and values and, up to a whole register, more of them that the mask hides.

    4096 pixels and 8 heads of width 40, two pictures, that read 77 tokens: 3.1 ms, without these three 6.1.
    """
    more = -k.shape[2] % _REGISTER
    if not more:
        return k, v, mask
    seen = k.new_zeros(1, 1, 1, k.shape[2])
    if mask is not None:
        seen = seen.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else mask
    k, v = (F.pad(one, (0, 0, 0, more)) for one in (k, v))
    return k, v, F.pad(seen, (0, more), value=-torch.inf)


def in_blocks(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scores: int = 2**20) -> Tensor:
    """`attend` without a gradient, in bfloat16 on a CPU: so many scores at a time as its caches hold.

    torch's own kernel multiplies bfloat16 no faster than float32 there. 4096 pixels and 4 heads of width 40, one
    thread: 66 against 144 ms; 1024 pixels and 16 heads of width 80: 24 against 64. Scores are rounded to bfloat16
    after they were scaled; the softmax is computed in float32. The error is at most twice that of torch's kernel.
    """
    batch, heads, n, width = q.shape
    m = k.shape[2]
    # contiguous, else each block is copied for its products; one prompt may serve a whole batch
    q, k, v = (one.expand(batch, -1, -1, -1).contiguous() for one in (q, k, v))
    out = torch.empty(batch, n, heads * width, dtype=q.dtype, device=q.device)
    rows = min(n, max(1, scores // m))
    some = min(heads, max(1, scores // (rows * m)))
    for sample in range(batch):
        queries, keys, values = q[sample], k[sample].transpose(1, 2), v[sample]
        into = out[sample].view(n, heads, width).transpose(0, 1)
        for head in range(0, heads, some):
            of = slice(head, head + some)
            for row in range(0, n, rows):
                part = queries[of, row : row + rows]
                weights = torch.baddbmm(part.new_empty(()), part, keys[of], beta=0, alpha=width**-0.5)
                if mask is not None:
                    heed(weights, mask[sample % len(mask)])
                torch.softmax(weights, dim=-1, out=weights)
                into[of, row : row + rows] = torch.bmm(weights, values[of])
    return out


class SelfAttention(nn.Module):
    """Pixels read from pixels; queries, keys and values come from one linear layer."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = TokenLinear(width, 3 * width, bias=bias)
        self.out = TokenLinear(width, width)

    def forward(self, x: Tensor, onto: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """x: (batch, n, width). onto: what the result is added to. Returns the same shape.

        bias: (batch, n), added to all scores of a key.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return added(self.out, attend(q, k, v, None if bias is None else bias[:, None, None, :]), onto)


class CrossAttention(nn.Module):
    """Pixels read from text, whose keys and values are made once per prompt.

    place: which entry of `TextMemory.layers` is this layer's; set by the UNet.
    """

    place: int

    def __init__(self, width: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = TokenLinear(width, width, bias=False)
        self.kv = nn.Linear(text_width, 2 * width, bias=False)
        self.out = TokenLinear(width, width)

    def remember(self, text: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """text: (batch, tokens, text width); mask: (batch, tokens) bool. Returns keys and values by head."""
        k, v = self.kv(text).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if mask is not None:  # a prompt without any readable token then adds nothing
            v = v.masked_fill(~mask[:, None, :, None], 0)
        return k, v

    def forward(self, x: Tensor, memory: TextMemory, onto: Tensor) -> Tensor:
        """x: (batch, n, width). Returns the same shape, added to `onto`."""
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = memory.layers[self.place]
        return added(self.out, attend(q, k, v, memory.mask), onto)


class AttentionBlock(nn.Module):
    """Norm, self-attention over all pixels, and the residual sum (Ho et al. 2020, appendix B)."""

    def __init__(self, width: int, heads: int, norm_groups: int, norm_eps: float) -> None:
        super().__init__()
        self.norm = GroupNorm(norm_groups, width, norm_eps)
        self.attention = SelfAttention(width, heads, bias=True)

    def forward(self, x: Tensor, memory: TextMemory | None = None) -> Tensor:
        """x: (batch, width, height, width of picture). Returns the same shape; reads no text."""
        return x + as_picture(self.attention(as_tokens(self.norm(x))), like=x)


def as_tokens(x: Tensor) -> Tensor:
    """(batch, c, h, w) -> (batch, h * w, c); no copy if x is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def as_many(x: Tensor, rows: int) -> Tensor:
    """x, its rows over again until there are so many, in this order; a feature map stays channels-last."""
    if x.shape[0] >= rows:
        return x
    times = rows // x.shape[0]
    if x.ndim == 4:
        return x.permute(0, 2, 3, 1).repeat(times, 1, 1, 1).permute(0, 3, 1, 2)
    return x.repeat(times, *(1 for _ in x.shape[1:]))


def as_picture(tokens: Tensor, like: Tensor) -> Tensor:
    """(batch, h * w, c) -> (batch, c, h, w), as a channels-last view."""
    batch, _, height, width = like.shape
    return tokens.view(batch, height, width, tokens.shape[-1]).permute(0, 3, 1, 2)


def readable(mask: Tensor) -> Tensor:
    """(batch, tokens) bool -> (batch, 1, 1, tokens) bool without an empty row: softmax of nothing is no number."""
    return (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
