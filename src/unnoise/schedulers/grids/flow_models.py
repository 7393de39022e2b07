"""Grids that flow models come with, which depend on the picture's size or on the number of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from unnoise.errors import InputError
from unnoise.limits import Count, Finite, Positive
from unnoise.process import Level, NoiseSchedule
from unnoise.schedulers.grids.base import Grid, at_ratios
from unnoise.schedulers.grids.combine import Shift

_FEW, _MANY = (8.73809524e-05, 1.89833333), (0.00016927, 0.45666666)  # slope and height at 10 and 200 steps
_LARGE = 4300  # tokens from which the line of 200 steps holds for any number


@dataclass(frozen=True)
class Flux2Shift(Grid):
    """Flux 2's shift: ratios times e^mu, mu fitted to the number of tokens and of steps (Black Forest Labs 2025).

    mu lies on a line in the tokens for 10 steps and on another for 200; between and beyond, on the line through the
    two in the steps. tokens: of the picture, width x height / 256.
    """

    grid: Grid
    tokens: Count

    def mu(self, count: int) -> float:
        """The logarithm of the factor for so many steps."""
        few, many = (slope * self.tokens + height for slope, height in (_FEW, _MANY))
        return many if self.tokens > _LARGE else many + (few - many) * (200 - count) / 190.0

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The inner grid's levels, moved."""
        return Shift(self.grid, math.exp(self.mu(count))).levels(schedule, count)


@dataclass(frozen=True)
class LogitNormal(Grid):
    """Log-ratios at equal probabilities of a normal distribution: flow times of a logit-normal one (Ideogram 4).

    Ln ratio = mean + spread F^-1(1 - i / count), F the normal distribution function; the first, which is infinite, is
    `top`, or the schedule's noisiest level where that is lower.
    """

    mean: Finite = 0.0
    spread: Positive = 1.5
    top: Finite = 9.0

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels. Raises InputError where more than one lies beyond the noisiest."""
        quantile = NormalDist(self.mean, self.spread).inv_cdf
        logs = [self.top, *(quantile(1.0 - i / count) for i in range(1, count))]
        high = float(schedule.noisiest.ratio)
        ratios = [min(math.exp(min(log, self.top)), high) for log in logs]
        if len(set(ratios)) < count:
            raise InputError(
                f"{count} logit-normal levels do not fit below ratio {high:g}; use fewer, or a smaller spread."
            )
        return at_ratios(schedule, ratios)
