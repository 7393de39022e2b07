"""Aspect-ratio buckets: pictures of one shape train together, each shape with about the model's number of pixels.

Which bucket a batch is from, and which of its pictures, is a pure function of (seed, step), as without buckets:
after e epochs a bucket of n pictures has given floor(e n / batch) batches, so every picture is shown equally
often, none is left out, and a batch is never mixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from unnoise import randomness
from unnoise.errors import InputError
from unnoise.training.order import pictures_at
from unnoise.training.pictures import upright_size

Size = tuple[int, int]


def shapes(side: int, step: int) -> list[Size]:
    """Heights and widths, multiples of `step` from side / 2 to 2 side, with at most side^2 pixels.

    For each height the widest, without those that another one contains. Raises InputError for a step larger
    than the side.
    """
    if step > side:
        raise InputError(
            f"data.bucket_step is {step}; give a number up to model.size ({side}), for example 8."
        )
    heights = range(max(step, -(-side // (2 * step)) * step), 2 * side + 1, step)
    widest = {height: min(side * side // height, 2 * side) // step * step for height in heights}
    found = [(height, width) for height, width in widest.items() if width >= max(step, side / 2)]
    return [one for one in found if not any(one != other and _inside(one, other) for other in found)]


def nearest(sizes: Sequence[Size], height: int, width: int) -> Size:
    """The size whose aspect ratio is nearest to that of height x width, by the ratio of the two."""
    return min(sizes, key=lambda size: abs(math.log(size[1] / size[0]) - math.log(width / height)))


def size_for(path: Path, sizes: Sequence[Size], default: Size) -> Size:
    """The bucket of a picture by its header; `default` where it cannot be read (decoding will say why)."""
    size = upright_size(path)
    return nearest(sizes, *size) if size and all(size) else default


def batch_at(
    seed: int, step: int, batch: int, counts: Sequence[int], positions: Sequence[int]
) -> tuple[int, list[int]]:
    """The bucket of a step, counted from 0, and the places in it at these positions of the global batch.

    counts: pictures of each bucket.
    """
    epoch, place = _epoch_and_place(step, batch, counts)
    order = _order(seed, epoch, batch, counts)
    bucket = order[place]
    number = _given(epoch, counts[bucket], batch) + order[:place].count(bucket)
    samples = (number * batch + position for position in positions)
    return bucket, pictures_at(seed, samples, counts[bucket], bucket)


def _given(epochs: int, count: int, batch: int) -> int:
    """Batches that a bucket has given after so many epochs."""
    return epochs * count // batch


def _epoch_and_place(step: int, batch: int, counts: Sequence[int]) -> tuple[int, int]:
    def batches(epochs: int) -> int:
        return sum(_given(epochs, count, batch) for count in counts)

    epoch = step * batch // sum(counts)  # never too late: rounding down only delays batches
    while batches(epoch + 1) <= step:
        epoch += 1
    return epoch, step - batches(epoch)


def _order(seed: int, epoch: int, batch: int, counts: Sequence[int]) -> list[int]:
    """The bucket of each batch of an epoch."""
    due = [_given(epoch + 1, count, batch) - _given(epoch, count, batch) for count in counts]
    buckets = [bucket for bucket, number in enumerate(due) for _ in range(number)]
    shuffled = torch.randperm(
        len(buckets), generator=randomness.generator(seed, "buckets", epoch), device="cpu"
    )
    return [buckets[place] for place in shuffled.tolist()]


def _inside(one: Size, other: Size) -> bool:
    return one[0] <= other[0] and one[1] <= other[1]
