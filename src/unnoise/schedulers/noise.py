"""Noise rules: how much of each step is drawn afresh.

A rule splits the way to the next level: the solver goes down to `down`, below it, and noise of the right size
brings the sample up again, so that in units of sigma / alpha  down^2 + fresh^2 = to^2  and the marginal is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.process import Level, transition


@dataclass(frozen=True)
class Split:
    """down: the level that the solver aims at, in the scaling of the next level; `exact` where it is that level.

    fresh: standard deviation of the noise added there. large: the same at the other end of a learned variance.
    eta: strength of the SDE in the solver's kernel.
    """

    down: Level
    fresh: float = 0.0
    large: float | None = None
    eta: float = 0.0
    exact: bool = True


class NoiseRule:
    """The rule that draws nothing; the others are its siblings. Subclasses are frozen dataclasses."""

    stochastic = True

    def split(self, now: Level, to: Level) -> Split:
        """How the step from `now` to `to`, which has noise, is shared between solver and fresh noise."""
        return Split(to)

    def raised(self, now: Level, steps: int) -> float:
        """The ratio to which the level is raised before the step; at least its own."""
        return float(now.ratio)


@dataclass(frozen=True)
class Deterministic(NoiseRule):
    """No fresh noise: the probability-flow ODE (Song et al. 2021b, eq. 13)."""

    stochastic = False


@dataclass(frozen=True)
class Ancestral(NoiseRule):
    """A share of the posterior's noise, then the ODE to what is left (Song et al. 2021a, eq. 16; k-diffusion).

    eta: 0 draws nothing, 1 is DDPM's fixed small variance at first order.
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        _check_eta(self.eta, 1.0)

    def split(self, now: Level, to: Level) -> Split:
        """Fresh = eta sqrt(to^2 (now^2 - to^2) / now^2), down = sqrt(to^2 - fresh^2), as ratios."""
        ratio, alpha = float(to.ratio), float(to.alpha)
        fresh = self.eta * ratio * math.sqrt(_lost(now, to))
        down = ratio * math.sqrt(1.0 - self.eta**2 * _lost(now, to))
        return Split(_level(to, down), alpha * fresh, exact=False)


@dataclass(frozen=True)
class Posterior(NoiseRule):
    """DDPM: the Gaussian posterior's mean and one of its variances (Ho et al. 2020, sec. 3.2).

    variance: "fixed_small", "fixed_large", or "learned_range", which falls back on fixed_small where the network
    gives none.
    """

    variance: str = "fixed_small"

    def __post_init__(self) -> None:
        if self.variance not in ("fixed_small", "fixed_large", "learned_range"):
            raise InputError(
                f"variance is {self.variance!r}; give fixed_small, fixed_large or learned_range."
            )

    def split(self, now: Level, to: Level) -> Split:
        """The ancestral split for the mean; the posterior's standard deviation for the noise."""
        down = float(to.ratio) * math.sqrt(1.0 - _lost(now, to))
        numbers = transition(now, to)
        small, large = math.sqrt(float(numbers.small)), math.sqrt(float(numbers.large))
        if self.variance == "fixed_large":
            return Split(_level(to, down), large, exact=False)
        return Split(
            _level(to, down), small, large if self.variance == "learned_range" else None, exact=False
        )


@dataclass(frozen=True)
class SDE(NoiseRule):
    """The reverse SDE with eta times its noise, integrated with its own kernel (Lu et al. 2022b; Gonzalez et al. 2023).

    eta: 0 is the ODE, 1 the reverse SDE of Song et al. 2021b.
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        _check_eta(self.eta, math.inf)

    def split(self, now: Level, to: Level) -> Split:
        """The solver goes all the way with the sharper kernel; fresh = sigma sqrt(1 - (to / now)^(2 eta))."""
        part = (float(to.ratio) / float(now.ratio)) ** (2.0 * self.eta)
        return Split(to, float(to.sigma) * math.sqrt(1.0 - part), eta=self.eta)


@dataclass(frozen=True)
class Churn(NoiseRule):
    """Noise before each step, inside a band of levels (Karras et al. 2022, alg. 2).

    amount: their S_churn, spread over the steps and capped at sqrt(2) - 1 each. low, high: S_tmin, S_tmax as ratios.
    scale: S_noise.
    """

    amount: float = 40.0
    low: float = 0.05
    high: float = 50.0
    scale: float = 1.003

    def __post_init__(self) -> None:
        if not (self.amount >= 0.0 and self.scale > 0.0 and 0.0 <= self.low < self.high):
            raise InputError(
                f"churn has amount {self.amount}, scale {self.scale}, band {self.low} to {self.high}; give "
                "amount >= 0, scale > 0 and low < high."
            )

    def raised(self, now: Level, steps: int) -> float:
        """Ratio (1 + gamma) inside the band."""
        ratio = float(now.ratio)
        gamma = min(self.amount / steps, math.sqrt(2.0) - 1.0) if self.low <= ratio <= self.high else 0.0
        return ratio * (1.0 + gamma)


def none() -> Deterministic:
    """No fresh noise."""
    return Deterministic()


def _lost(now: Level, to: Level) -> float:
    """1 - (to / now)^2 of the ratios, from 0 to 1; 1 where `now` holds no signal."""
    return 1.0 - (float(to.ratio) / float(now.ratio)) ** 2


def _level(to: Level, ratio: float) -> Level:
    return Level(to.time, to.alpha, float(to.alpha) * ratio)


def _check_eta(eta: float, limit: float) -> None:
    if not 0.0 <= eta <= limit or not math.isfinite(eta):
        upper = f" to {limit:g}" if math.isfinite(limit) else " upwards"
        raise InputError(f"eta is {eta}; give a number from 0{upper}.")
