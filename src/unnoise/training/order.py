"""Which picture stands where in which batch: a pure function of (seed, step, position).

Sample number g = step * batch + position of the run is place g mod n of epoch g div n, and every epoch is a
keyed permutation of the n pictures. Nothing is remembered, so workers, resumption, accumulation and the
number of machines cannot change it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from unnoise import randomness


@functools.lru_cache(maxsize=64)
def permutation(seed: int, epoch: int, count: int, *bucket: int) -> Tensor:
    """The order of `count` pictures in this epoch, of a bucket where there are several: int64, shape (count,)."""
    return torch.randperm(count, generator=randomness.generator(seed, "order", epoch, *bucket), device="cpu")


def picture_at(seed: int, sample: int, count: int, *bucket: int) -> int:
    """Index of the picture that the run's sample number `sample` shows, of `count` pictures, or of a bucket's."""
    epoch, place = divmod(sample, count)
    return int(permutation(seed, epoch, count, *bucket)[place])


def batch_at(
    seed: int, step: int, batch: int, count: int, positions: Sequence[int] | None = None
) -> list[int]:
    """Indices of the pictures at these positions of a global batch (None: all). step counts from 0."""
    positions = range(batch) if positions is None else positions
    return [picture_at(seed, step * batch + position, count) for position in positions]
