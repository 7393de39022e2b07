"""The Gaussian that every step of the forward and of the reverse process is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """Independent normal numbers: mean (batch, ...) and variance, a tensor that broadcasts to it, or a float."""

    mean: Tensor
    variance: float | Tensor

    def _variance(self) -> Tensor:
        return torch.as_tensor(self.variance, dtype=self.mean.dtype, device=self.mean.device)

    def sample(self, eps: Tensor) -> Tensor:
        """Mean + sqrt(variance) eps, for standard normal eps shaped as the mean."""
        return self.mean + self._variance().sqrt() * eps

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of each element, in nats."""
        variance = self._variance()
        return -0.5 * ((x - self.mean) ** 2 / variance + variance.log() + math.log(2.0 * math.pi))

    def kl(self, other: Gaussian) -> Tensor:
        """KL(self || other) of each element, in nats: 0 where they are equal, otherwise positive.

        1/2 (r - 1 - ln r + (mean difference)^2 / other's variance) with r the ratio of the variances.
        """
        mine, theirs = self._variance(), other._variance()
        ratio = mine / theirs
        return 0.5 * (ratio - 1.0 - ratio.log() + (self.mean - other.mean) ** 2 / theirs)
