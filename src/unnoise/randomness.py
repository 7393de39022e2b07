"""Keyed random numbers: a pure function of (seed, purpose, position), never of what was drawn before.

Because nothing is remembered, the size of a batch, the order of a queue, a resumed run, the number of
workers or the device cannot change a draw. Numbers are drawn on the CPU in float32 and then moved, so one
seed means one noise on every machine of the same torch version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def key(seed: int, purpose: str, *position: int) -> int:
    """63-bit key of one draw: blake2b over the seed, the purpose and the position.

    seed: any integer. purpose: what the number is for, such as "start" or "dropout". position: indices that
    tell apart draws of one purpose (training step, sample, solver step).
    """
    text = "/".join((str(seed), purpose, *map(str, position)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A CPU generator that starts at this key."""
    return torch.Generator().manual_seed(key(seed, purpose, *position))


def normal(seed: int, purpose: str, *position: int, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers of `shape`, float32, on the CPU."""
    return torch.randn(tuple(shape), generator=generator(seed, purpose, *position))


def uniform(seed: int, purpose: str, *position: int) -> float:
    """One number in [0, 1) with 53 random bits."""
    wide = hashlib.blake2b(f"{seed}/{purpose}/{position}".encode(), digest_size=8).digest()
    return (int.from_bytes(wide, "big") >> 11) / 2.0**53


@dataclass(frozen=True)
class NoiseSource:
    """Fresh noise for a batch in which every sample has a seed of its own.

    seeds: one integer a sample. Sample 3 of a batch draws what it would draw alone.
    """

    seeds: tuple[int, ...]

    def __call__(self, purpose: str, *position: int, like: Tensor) -> Tensor:
        """Standard normal noise shaped, typed and placed as `like` (batch, ...), a row for each seed."""
        rows = [normal(seed, purpose, *position, shape=like.shape[1:]) for seed in self.seeds]
        return torch.stack(rows).to(device=like.device, dtype=like.dtype)
