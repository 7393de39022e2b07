"""Data whose denoiser, transport and spread are known in closed form, on any process."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from unnoise.process import EDM, Cosine, DiscreteVP, Flow, Level

SCHEDULES = {
    "linear": DiscreteVP.linear(),
    "scaled_linear": DiscreteVP.scaled_linear(),
    "cosine_betas": DiscreteVP.cosine(),
    "sigmoid": DiscreteVP.sigmoid(),
    "zero_terminal": DiscreteVP.scaled_linear().zero_terminal_snr(),
    "short_table": DiscreteVP.linear(steps=50),
    "cosine": Cosine(),
    "cosine_offset": Cosine(offset=0.008),
    "edm": EDM(),
    "flow": Flow(),
    "flow_shifted": Flow(shift=3.0),
}


@dataclass(frozen=True)
class Mixture:
    """A mixture of normal distributions on the line; one component is plain Gaussian data."""

    weights: tuple[float, ...] = (0.3, 0.5, 0.2)
    means: tuple[float, ...] = (-1.2, 0.3, 1.5)
    deviations: tuple[float, ...] = (0.35, 0.3, 0.4)

    def denoise(self, x: Tensor, level: Level) -> Tensor:
        """E[x_0 | x] by Bayes, float64, elementwise."""
        a, s = float(level.alpha), float(level.sigma)
        w, m, d = (
            torch.tensor(values, dtype=torch.float64)
            for values in (self.weights, self.means, self.deviations)
        )
        total = (a * d) ** 2 + s**2
        away = x.double().unsqueeze(-1) - a * m
        log_share = w.log() - 0.5 * total.log() - 0.5 * away**2 / total
        share = torch.softmax(log_share, -1)
        return (share * (m + a * d**2 / total * away)).sum(-1)

    def quantiles(self, level: Level, count: int = 64) -> Tensor:
        """Equal-probability quantiles of the noised data: the exact path of the probability-flow ODE, by bisection."""
        a, s = float(level.alpha), float(level.sigma)
        w, m, d = (np.array(values) for values in (self.weights, self.means, self.deviations))
        spread = np.sqrt((a * d) ** 2 + s**2)
        goal = (np.arange(count) + 0.5) / count
        reach = abs(a * m).max() + 12.0 * spread.max()
        low, high = np.full(count, -reach), np.full(count, reach)
        for _ in range(80):  # to the last bit
            middle = 0.5 * (low + high)
            below = (w * norm.cdf(middle[:, None], a * m, spread)).sum(1) < goal
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return torch.from_numpy(0.5 * (low + high))


GAUSSIAN = Mixture((1.0,), (0.3,), (0.5,))
MIXTURE = Mixture()


class OneHotNoise:
    """A noise source whose k-th draw is 1 in row k + 2 only: it reads off an affine sampler's coefficients.

    Row 0 is the sampler at zero, row 1 belongs to the starting sample.
    """

    def __init__(self, rows: int) -> None:
        self.seeds = tuple(range(rows))
        self.drawn = 0

    def __call__(self, purpose: str, *position: int, like: Tensor) -> Tensor:
        noise = torch.zeros_like(like)
        noise[self.drawn + 2] = 1.0
        self.drawn += 1
        return noise


def affine_moments(plan: object, data: Mixture) -> tuple[float, float]:
    """Exact mean and standard deviation of a sampler's output on Gaussian data, without drawing anything."""
    (mean,), (deviation,) = data.means, data.deviations
    first = plan.levels[0]
    a, s = float(first.alpha), float(first.sigma)
    rows = 2 + 2 * sum(len(step.moves) for step in plan.steps)
    x = torch.zeros(rows, 1, dtype=torch.float64) + a * mean
    x[1] += math.hypot(a * deviation, s)
    *_, last = plan.run(data.denoise, x, OneHotNoise(rows))
    base, parts = last.x[0], last.x[1:] - last.x[0]
    return float(base), float(parts.pow(2).sum().sqrt())
