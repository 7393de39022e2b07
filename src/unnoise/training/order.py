"""Which picture stands where in which batch: a pure function of (seed, step, position).

Sample number g = step * batch + position of the run is place g mod n of epoch g div n, and every epoch is a
keyed permutation of the n pictures. Nothing is remembered, so workers, resumption, accumulation and the
number of machines cannot change it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
from torch import Tensor

from unnoise import randomness


@functools.lru_cache(maxsize=64)
def permutation(seed: int, epoch: int, count: int, *bucket: int) -> Tensor:
    """The order of `count` pictures in this epoch, of a bucket where there are several: int64, shape (count,)."""
    return torch.randperm(count, generator=randomness.generator(seed, "order", epoch, *bucket), device="cpu")


def pictures_at(seed: int, samples: Iterable[int], count: int, *bucket: int) -> list[int]:
    """Indices of the pictures that the samples of these numbers show, of `count` pictures, or of a bucket's."""
    places = (divmod(sample, count) for sample in samples)
    return [int(permutation(seed, epoch, count, *bucket)[place]) for epoch, place in places]
