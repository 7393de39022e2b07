"""From a density over numbers to a probability of grey levels: the last term of every bound on pictures."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from unnoise.limits import choice, floats, typed, whole
from unnoise.process import Gaussian, Level
from unnoise.process.level import expand

Cdf = Literal["exact", "tanh"]


def discretised_log_likelihood(x: Tensor, gaussian: Gaussian, bins: int = 256, cdf: Cdf = "exact") -> Tensor:
    """Log probability, in nats, of the grey level of each element; shaped as x.

    x: in [-1, 1], on the grid of `bins` values -1 + 2 k / (bins - 1). The level's bin is 2 / (bins - 1) wide,
    open outwards for the first and the last (Ho et al. 2020, eq. 13). "exact" is computed from log Phi, so that
    a value far out in the tail costs what it should and not a floor. "tanh" is the approximation behind
    published figures, with its floor of 1e-12 on a probability.
    """
    floats("x", x, dims=0)
    typed("gaussian", gaussian, Gaussian)
    half = 1.0 / (whole("bins", bins, 2, example=256) - 1)
    deviation = torch.as_tensor(gaussian.variance, dtype=x.dtype, device=x.device).sqrt()
    if choice("cdf", cdf, get_args(Cdf)) == "tanh":
        return _by_tanh(x, gaussian.mean, deviation, half)
    # Both ends mirrored into the lower tail, where log Phi keeps its digits.
    centred = -(x - gaussian.mean).abs()
    upward = x >= gaussian.mean
    outer = torch.where(upward, x > 1.0 - half, x < -1.0 + half)  # open on the side away from the mean
    inner = torch.where(upward, x < -1.0 + half, x > 1.0 - half)  # open on the side of the mean
    near = torch.special.log_ndtr((centred + half) / deviation)
    far = torch.special.log_ndtr((centred - half) / deviation)
    gap = torch.where(outer, -1.0, far - near)
    closed = near + torch.log(-torch.expm1(gap.clamp(max=-1e-6)))
    rest = torch.log(-torch.expm1(torch.where(inner, far, -1.0).clamp(max=-1e-6)))
    return torch.where(outer, near, torch.where(inner, rest, closed))


def _by_tanh(x: Tensor, mean: Tensor, deviation: Tensor, half: float) -> Tensor:
    above = _approximate_cdf((x - mean + half) / deviation)
    below = _approximate_cdf((x - mean - half) / deviation)
    share = torch.where(x < -0.999, above, torch.where(x > 0.999, 1.0 - below, above - below))
    return share.clamp(min=1e-12).log()


def _approximate_cdf(z: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)))


def nearest_level_log_likelihood(x0: Tensor, x: Tensor, level: Level, bins: int = 256) -> Tensor:
    """Log probability, in nats, of each grey level of x0 where only the slightly noisy x is known.

    p(v | x) is proportional to N(x; alpha v, sigma^2) over the `bins` grey levels v (Kingma et al. 2021, eq. 8).
    x0, x: (batch, ...) in [-1, 1]; returns the same shape.
    """
    floats("x", x)
    floats("x0", x0, x.shape)
    typed("level", level, Level, "schedule.level(0.5)")
    alpha, sigma = expand(level.alpha, x), expand(level.sigma, x)
    step = 2.0 / (whole("bins", bins, 2, example=256) - 1)
    own = -0.5 * ((x - alpha * x0) / sigma) ** 2
    every = torch.full_like(own, -math.inf)
    for place in range(bins):
        every = torch.logaddexp(every, -0.5 * ((x - alpha * (-1.0 + place * step)) / sigma) ** 2)
    return own - every
