"""The Gaussian that every step of the forward and of the reverse process is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.limits import Amount, Declared, floats, typed


@dataclass(frozen=True)
class Gaussian(Declared):
    """Independent normal numbers: mean (batch, ...) and variance, a tensor that broadcasts to it, or a float.

    Raises InputError where they are no floats, and for a float below 0; a tensor's values are not looked at.
    """

    mean: Tensor
    variance: Amount | Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        floats("mean", self.mean, dims=0)
        if isinstance(self.variance, Tensor):
            floats("variance", self.variance, dims=0)

    def _variance(self) -> Tensor:
        return torch.as_tensor(self.variance, dtype=self.mean.dtype, device=self.mean.device)

    def sample(self, eps: Tensor) -> Tensor:
        """Mean + sqrt(variance) eps, for standard normal eps: shaped as the mean, or with axes of draws before."""
        floats("eps", eps, dims=0)
        return self.mean + self._variance().sqrt() * eps

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of each element, in nats; where the variance is 0, infinite at the mean, -infinity beside it."""
        floats("x", x, dims=0)
        variance, apart = self._variance(), (x - self.mean) ** 2
        density = -0.5 * (apart / variance + variance.log() + math.log(2.0 * math.pi))
        point = torch.where(apart == 0.0, torch.full_like(density, math.inf), -math.inf)
        return torch.where(variance == 0.0, point, density)

    def kl(self, other: Gaussian) -> Tensor:
        """KL(self || other) of each element, in nats: 0 where they are equal, otherwise positive.

        1/2 (r - 1 - ln r + (mean difference)^2 / other's variance) with r the ratio of the variances; infinite where
        `other` has none, unless both are the same point.
        """
        floats("the mean of other", typed("other", other, Gaussian).mean, self.mean.shape, dims=0)
        mine, theirs = self._variance(), other._variance()
        ratio, apart = mine / theirs, (self.mean - other.mean) ** 2
        spread = 0.5 * (ratio - 1.0 - ratio.log() + apart / theirs)
        point = torch.where((mine == 0.0) & (apart == 0.0), torch.zeros_like(spread), math.inf)
        return torch.where(theirs == 0.0, point, spread)
