"""Tokens -> embedding: one transformer that is CLIP's text tower, OpenCLIP's, or a small one of our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unnoise.errors import InputError
from unnoise.limits import BelowOne, Bound, Count, typed, whole
from unnoise.networks.settings import Settings


@dataclass(frozen=True)
class TextEncoderConfig(Settings):
    """The shape of a text encoder. The defaults are CLIP ViT-L/14's (Stable Diffusion 1).

    vocabulary: number of token ids. width: of the hidden states. layers, heads: of the transformer.
    positions: the longest sequence. expansion: width of the feed-forward layers over `width`.
    activation: "quick_gelu" (x sigmoid(1.702 x), OpenAI's CLIP) or "gelu" (OpenCLIP).
    causal: each token sees only itself and those before it.
    pooling: "end" (the state at the first end token) or "mean" (over the tokens that the mask keeps).
    end_token: the id at which "end" pools.
    projection: width of the pooled vector after a linear map without bias; None leaves the map out.
    attend_padding: the encoder was trained seeing padding as ordinary tokens (CLIP), so no mask is applied by
        `unnoise.text.embed`; false for encoders trained with a mask.
    normalize_skipped: a state taken before the last layer gets the final norm too (SD 1 and 2; not XL).
    vectors: numbers of the frozen vector that every token has beside a learned one; 0 for learned ones alone.
    learned: with `vectors`, the ids below this have a learned vector.
    token_dropout: with `vectors`, how often in training a token goes without its learned vector.
    """

    kind = "a text encoder"

    vocabulary: Count = 49408
    width: Count = 768
    layers: Count = 12
    heads: Count = 12
    positions: Count = 77
    expansion: Count = 4
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    causal: bool = True
    pooling: Literal["end", "mean"] = "end"
    end_token: Bound = 49407
    projection: Count | None = None
    attend_padding: bool = True
    normalize_skipped: bool = True
    vectors: Bound = 0
    learned: Bound = 0
    token_dropout: BelowOne = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise InputError(
                f"width is {self.width} and heads {self.heads}; give a width that heads divides."
            )
        if self.end_token >= self.vocabulary:
            raise InputError(f"end_token is {self.end_token}; give an id from 0 to {self.vocabulary - 1}.")
        if self.vectors and not 2 <= self.learned <= self.vocabulary:
            raise InputError(
                f"vectors is {self.vectors} and learned {self.learned}; give from 2 to {self.vocabulary} learned ids "
                "with vectors."
            )

    @classmethod
    def clip_l(cls) -> TextEncoderConfig:
        """CLIP ViT-L/14 (Radford et al. 2021): Stable Diffusion 1; 123,060,480 parameters."""
        return cls()

    @classmethod
    def open_clip_h(cls) -> TextEncoderConfig:
        """OpenCLIP ViT-H/14 (Cherti et al. 2023): Stable Diffusion 2, which takes it with `skip=1`."""
        return cls(width=1024, layers=24, heads=16, activation="gelu", projection=1024)

    @classmethod
    def open_clip_big_g(cls) -> TextEncoderConfig:
        """OpenCLIP ViT-bigG/14: the second tower of Stable Diffusion XL."""
        return cls(
            width=1280, layers=32, heads=20, activation="gelu", projection=1280, normalize_skipped=False
        )

    @classmethod
    def small(cls, vocabulary: int, end_token: int, width: int = 64, layers: int = 2) -> TextEncoderConfig:
        """One to train from nothing: every token sees every other, padding is masked, the mean is pooled."""
        return cls(
            vocabulary=vocabulary,
            width=width,
            layers=layers,
            heads=max(1, width // 32),
            positions=32,
            activation="gelu",
            causal=False,
            pooling="mean",
            end_token=end_token,
            attend_padding=False,
        )


class TextEncoding(NamedTuple):
    """What a text encoder gives.

    hidden: (batch, length, width), a state for each token.
    pooled: (batch, width or projection), one for the prompt.
    """

    hidden: Tensor
    pooled: Tensor


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017); one matrix product makes queries, keys, values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, allowed: Tensor | None, causal: bool) -> Tensor:
        """x: (batch, length, width); allowed: bool, broadcastable to (batch, heads, queries, keys)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=causal and allowed is None)
        return self.out(y.transpose(1, 2).flatten(2))


class WordEmbedding(nn.Module):
    """A frozen vector for every word, projected, plus a learned one for the words that training saw.

    A word that no caption had is understood by its neighbours among the frozen vectors. So that the network
    learns to read these, a word goes without its learned vector now and then in training, where only the UNet
    learns too; it then has that of the id `UNKNOWN`, as unseen words always have.
    """

    UNKNOWN = 1

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.dropout = config.token_dropout
        self.learned = nn.Embedding(config.learned, config.width)
        self.project = nn.Linear(config.vectors, config.width, bias=False)
        self.register_buffer("vectors", torch.zeros(config.vocabulary, config.vectors, dtype=torch.int8))
        self.vectors: Tensor
        nn.init.zeros_(self.learned.weight)
        nn.init.normal_(self.project.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (batch, length) int64. Returns (batch, length, width)."""
        seen = tokens < len(self.learned.weight)
        if self.training and self.dropout:
            seen = seen & (torch.rand(tokens.shape, device=tokens.device) >= self.dropout)
        meaning = F.normalize(self.vectors[tokens].to(self.project.weight.dtype), dim=-1)
        return self.learned(torch.where(seen, tokens, self.UNKNOWN)) + self.project(meaning)


class Block(nn.Module):
    """Attention, then two feed-forward layers, each on a normed copy and added to the stream."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.attention = SelfAttention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, config.expansion * config.width)
        self.down = nn.Linear(config.expansion * config.width, config.width)
        self.activation = quick_gelu if config.activation == "quick_gelu" else F.gelu
        self._start(config)

    def _start(self, config: TextEncoderConfig) -> None:
        """Starting weights: branches shrink with depth, so that the stream's scale does not grow."""
        wide = config.width**-0.5
        branch = wide * (2 * config.layers) ** -0.5
        stds = {
            self.attention.qkv: wide,
            self.attention.out: branch,
            self.up: wide * 0.5**0.5,
            self.down: branch,
        }
        for layer, std in stds.items():
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, allowed: Tensor | None, causal: bool) -> Tensor:
        """x: (batch, length, width), likewise the answer."""
        x = x + self.attention(self.norm1(x), allowed, causal)
        return x + self.down(self.activation(self.up(self.norm2(x))))


class TextEncoder(nn.Module):
    """A transformer over tokens (Radford et al. 2021, section 2.4): pre-norm blocks, then a layer norm."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config: TextEncoderConfig = typed("config", config, TextEncoderConfig, "TextEncoderConfig()")
        self.token_embedding: nn.Embedding | WordEmbedding
        if config.vectors:
            self.token_embedding = WordEmbedding(config)
        else:
            self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        self.position_embedding = nn.Parameter(torch.empty(config.positions, config.width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.width)
        self.projection = (
            nn.Linear(config.width, config.projection, bias=False) if config.projection else None
        )
        if isinstance(self.token_embedding, nn.Embedding):
            nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding, std=0.01)
        if self.projection is not None:
            nn.init.normal_(self.projection.weight, std=config.width**-0.5)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, skip: int = 0) -> TextEncoding:
        """States for each token and one for the prompt.

        tokens: (batch, length) int64, length at most `config.positions`.
        mask: (batch, length) bool, false where a token must have no influence; the first is always seen.
        skip: last layers whose work `hidden` leaves out ("CLIP skip" 2 elsewhere is 1 here); `pooled` is
            always of the whole stack.
        Raises InputError for tokens or a mask of the wrong shape, or a skip outside 0 .. layers - 1.
        """
        self._check(tokens, mask, skip)
        length = tokens.shape[1]
        allowed = _allowed(mask, self.config.causal)
        x = hidden = self.token_embedding(tokens) + self.position_embedding[:length]
        for left, block in zip(reversed(range(self.config.layers)), self.blocks, strict=True):
            x = block(x, allowed, self.config.causal)
            if left == skip:
                hidden = x
        last = self.final_norm(x)
        if not skip:
            hidden = last
        elif self.config.normalize_skipped:
            hidden = self.final_norm(hidden)
        pooled = self._pool(last, tokens, mask)
        return TextEncoding(hidden, pooled if self.projection is None else self.projection(pooled))

    def _pool(self, x: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        if self.config.pooling == "end":
            place = (tokens == self.config.end_token).int().argmax(dim=1)
            return x[torch.arange(len(x), device=x.device), place]
        if mask is None:
            return x.mean(dim=1)
        weight = mask.to(x.dtype).unsqueeze(-1)
        return (x * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)

    def _check(self, tokens: Tensor, mask: Tensor | None, skip: int) -> None:
        if tokens.dim() != 2 or not 1 <= tokens.shape[1] <= self.config.positions:
            raise InputError(
                f"tokens has the shape {tuple(tokens.shape)}; give (batch, length) with a length from 1 to "
                f"{self.config.positions}, as tokenizer(prompts, length={self.config.positions}).ids has."
            )
        if mask is not None and (mask.shape != tokens.shape or mask.dtype != torch.bool):
            raise InputError(
                f"mask is {mask.dtype} of the shape {tuple(mask.shape)}; give bool of the tokens' shape "
                f"{tuple(tokens.shape)}."
            )
        whole("skip", skip, 0, self.config.layers - 1)


def quick_gelu(x: Tensor) -> Tensor:
    """GELU as OpenAI's CLIP has it: x sigmoid(1.702 x) (Hendrycks and Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


def _allowed(mask: Tensor | None, causal: bool) -> Tensor | None:
    """Which keys each query sees, (batch, 1, 1 or queries, keys) bool; None where no mask is given.

    The first key is always seen: a row that saw nothing would be 0/0.
    """
    if mask is None:
        return None
    length = mask.shape[1]
    first = torch.arange(length, device=mask.device) == 0
    allowed = (mask | first)[:, None, None, :]
    if causal:
        allowed = allowed & torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    return allowed
