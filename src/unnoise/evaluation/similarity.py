"""How alike two pictures of the same seed are."""

from __future__ import annotations

import torch
from torch import Tensor


def relative_error(x: Tensor, truth: Tensor) -> float:
    """Root mean square of x - truth over that of truth, all pictures (pictures, ...) together."""
    return float((x.double() - truth.double()).square().mean().sqrt() / truth.double().square().mean().sqrt())


def each_error(x: Tensor, truth: Tensor) -> list[float]:
    """`relative_error` of each picture by itself."""
    return [relative_error(one, other) for one, other in zip(x, truth, strict=True)]


def structural_similarity(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of each pair of pictures, (pictures, channels, height, width) in [-1, 1] -> (pictures,), 1 when equal.

    Wang et al. 2004 with a flat window of 7 pixels, or the whole side of smaller pictures, and sample covariances,
    as scikit-image has it.
    """
    one, other = (part.double().clamp(-1.0, 1.0) * 0.5 + 0.5 for part in (x, y))
    side = min(7, *one.shape[-2:])
    unbiased = side**2 / (side**2 - 1)

    def mean(values: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(values, side, stride=1)

    m, n = mean(one), mean(other)
    own = (mean(one * one) - m * m) * unbiased, (mean(other * other) - n * n) * unbiased
    shared = (mean(one * other) - m * n) * unbiased
    low, high = 0.01**2, 0.03**2
    local = (2 * m * n + low) * (2 * shared + high) / ((m * m + n * n + low) * (own[0] + own[1] + high))
    whole: Tensor = local.flatten(1).mean(1)
    return whole
