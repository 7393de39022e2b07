"""Weights on an embedding: what "twice as much of this word" means to A1111, to ComfyUI and to compel.

All three let the encoder see the words as they are and change its hidden states z afterwards, a token's states by its
weight w; e are the states of an empty prompt at the same places.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from unnoise.text.chunks import Chunk

_LEAST = 1e-5
"""compel: a weight of 0 or less counts as this, where the tangent is still finite."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """The chunks of one prompt and what the encoder says of them.

    hidden: (chunks, length, width). weights: (chunks, length) float32, 1 on start, end and padding.
    read: (chunks, length) bool, false on padding that nothing reads; None where all is read.
    encode: hidden states of (rows, length) ids with a mask; ids, chunks: as they were encoded.
    empty: (1, length) ids of an empty prompt, and their mask as `read`.
    """

    hidden: Tensor
    weights: Tensor
    read: Tensor | None
    ids: Tensor
    empty: tuple[Tensor, Tensor | None]
    chunks: list[Chunk]
    encode: Callable[[Tensor, Tensor | None], Tensor]


def weighed(style: str, found: Encoded) -> Tensor:
    """(chunks, length, width): the hidden states with their weights; the same where all weights are 1."""
    if bool((found.weights == 1).all()):
        return found.hidden
    return _RULES.get(style, restoring_mean)(found).to(found.hidden.dtype)


def restoring_mean(found: Encoded) -> Tensor:
    """A1111: z w, times what brings the mean over a chunk back to what it was: mean(z) / mean(z w)."""
    before = found.hidden.float()
    after = before * found.weights.unsqueeze(-1)
    wanted, mean = _mean(before, found.read), _mean(after, found.read)
    return after * (wanted / mean).where(mean != 0, mean.new_ones(()))


def from_empty(found: Encoded) -> Tensor:
    """ComfyUI: e + w (z - e), the line from the empty prompt's state through the word's."""
    weights = found.weights.unsqueeze(-1)
    empty = found.encode(*found.empty).float()
    hidden = found.hidden.float()
    return hidden.where(weights == 1, empty + weights * (hidden - empty))


def without_weak(found: Encoded) -> Tensor:
    """compel: as ComfyUI; then words of a weight w below 1 fade, for a mean with embeddings that never saw them.

    Each stretch of such words adds the embedding of the prompt with them masked, of weight tan(pi / 2 (1 - w)) beside
    the 1 of the whole: at w = 1/2 it is half gone, at 0 nothing is left.
    """
    import torch

    strong = from_empty(found)
    rows = [_faded(found, strong[place], place) for place in range(len(found.chunks))]
    return torch.stack(rows)


def _faded(found: Encoded, strong: Tensor, place: int) -> Tensor:
    """(length, width): one chunk, without what is weak in it."""
    import torch

    chunk = found.chunks[place]
    weak = {token.piece: token.weight for token in chunk if token.weight < 1}
    if not weak:
        return strong
    ids, of = found.ids[place], torch.tensor([-1, *(token.piece for token in chunk)], device="cpu")
    seen = torch.ones(len(weak), len(ids), dtype=torch.bool, device="cpu")
    for row, piece in enumerate(weak):
        seen[row, : len(of)] = of != piece
    seen = seen.to(ids.device)
    if found.read is not None:
        seen &= found.read[place]
    hidden = found.encode(ids.expand(len(weak), -1), seen)
    parted = replace(found, hidden=hidden, weights=found.weights[place].expand(len(weak), -1))
    shares = [1.0, *(math.tan((1.0 - max(weight, _LEAST)) * math.pi / 2) for weight in weak.values())]
    share = torch.tensor(shares, dtype=torch.float32, device=hidden.device) / sum(shares)
    return torch.einsum("r,rlw->lw", share, torch.cat([strong[None], from_empty(parted)]))


def _mean(x: Tensor, read: Tensor | None) -> Tensor:
    """(chunks, 1, 1): the mean over a chunk's tokens that are read, and their width."""
    if read is None:
        return x.mean(dim=(1, 2), keepdim=True)
    kept = read.unsqueeze(-1).to(x.dtype)
    return (x * kept).sum(dim=(1, 2), keepdim=True) / (kept.sum(dim=(1, 2), keepdim=True) * x.shape[2])


_RULES: dict[str, Callable[[Encoded], Tensor]] = {"comfyui": from_empty, "compel": without_weak}
