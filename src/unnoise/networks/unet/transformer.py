"""The spatial transformer of latent diffusion (Rombach et al. 2022, appendix E.2.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.networks.unet.attention import (
    CrossAttention,
    SelfAttention,
    TextMemory,
    as_many,
    as_picture,
    as_tokens,
)
from unnoise.networks.unet.in_place import times
from unnoise.networks.unet.layers import TokenLinear, added, fuses, product, unwatched, worth_forgetting
from unnoise.networks.unet.norm import GroupNorm


class FeedForward(nn.Module):
    """W2 (a * gelu(b)), (a, b) = W1 x, four times as wide between (GEGLU, Shazeer 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gated = TokenLinear(width, 2 * 4 * width)
        self.out = TokenLinear(4 * width, width)

    def forward(self, x: Tensor, onto: Tensor) -> Tensor:
        """x: (batch, n, width). Returns the same shape, added to `onto`."""
        return added(self.out, self._between(x), onto)

    def _between(self, x: Tensor) -> Tensor:
        if fuses(x) and unwatched(self.gated):
            (value, gate), (shift, other) = self.gated.weight.chunk(2), self.gated.bias.chunk(2)
            return product(x, value, shift, F.gelu(product(x, gate, other)), "mul")
        both = self.gated(x)
        if worth_forgetting(both):
            return Gated.apply(both)  # type: ignore[no-untyped-call]
        values, gates = both.chunk(2, dim=-1)
        return times(F.gelu(gates), values)


class Gated(torch.autograd.Function):
    """a * gelu(b) of (a, b), which keeps them alone: the gradient makes the gelu again.

    That is a third of what these layers keep: of Stable Diffusion 1.5, 512x512, float32, one picture, 185 MB by count.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(both: Tensor) -> Tensor:
        """(batch, n, 2 width) -> (batch, n, width)."""
        value, gate = both.chunk(2, dim=-1)
        return F.gelu(gate).mul_(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ANN401 - torch's own
        """Keep what the layer was given."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ANN401
        """grad: of the output. Returns the gradient of both."""
        (both,) = ctx.saved_tensors
        value, gate = both.chunk(2, dim=-1)
        return torch.cat([grad * F.gelu(gate), torch.ops.aten.gelu_backward(grad * value, gate)], dim=-1)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward; each after a layer norm, each added."""

    def __init__(self, width: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = SelfAttention(width, heads, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = CrossAttention(width, heads, text_width)
        self.norm3 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)

    def forward(self, x: Tensor, memory: TextMemory) -> Tensor:
        """x: (batch, n, width). Returns the same shape, of as many rows as the text has."""
        x = self.self_attention(self.norm1(x), x)
        x = as_many(x, memory.layers[self.cross_attention.place][0].shape[0])
        x = self.cross_attention(self.norm2(x), memory, x)
        return self.feed_forward(self.norm3(x), x)


class SpatialTransformer(nn.Module):
    """Transformer blocks over the pixels of a feature map, with a residual sum around them."""

    def __init__(self, width: int, depth: int, heads: int, text_width: int, norm_groups: int) -> None:
        super().__init__()
        # not the network's norm_eps, in all of the lineage
        self.norm = GroupNorm(norm_groups, width, eps=1e-6)
        self.project_in = TokenLinear(width, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, text_width) for _ in range(depth))
        self.project_out = TokenLinear(width, width)

    def forward(self, x: Tensor, memory: TextMemory) -> Tensor:
        """x: (batch, width, height, width of picture). Returns the same shape, of as many rows as the text has."""
        tokens = self.project_in(as_tokens(self.norm(x)))
        for block in self.blocks:
            tokens = block(tokens, memory)
        x = as_many(x, tokens.shape[0])
        return as_picture(added(self.project_out, tokens, as_tokens(x)), like=x)
