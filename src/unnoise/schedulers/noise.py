"""Noise rules: how much of each step is drawn afresh.

A rule splits the way to the next level: the solver goes down to `down`, below it, and noise of the right size
brings the sample up again, so that in units of sigma / alpha  down^2 + fresh^2 = to^2  and the marginal is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.process import Level, NoiseSchedule, transition


@dataclass(frozen=True)
class Split:
    """down: the level that the solver aims at, in the scaling of the next level; `exact` where it is that level.

    fresh: standard deviation of the noise added there. large: the same at the other end of a learned variance.
    eta: strength of the SDE in the solver's kernel. span: the stretch of the Brownian path that the noise is, on
    the rule's clock.
    """

    down: Level
    fresh: float = 0.0
    large: float | None = None
    eta: float = 0.0
    exact: bool = True
    span: tuple[float, float] | None = None


def clock(ratio: float, eta: float) -> float:
    """ratio^(-2 eta): on this clock the noise of the SDE is one Brownian path, whatever the steps.

    In y = x / (sigma ratio^eta) the SDE adds noise of variance clock(to) - clock(now) and nothing fades.
    """
    return 0.0 if ratio == math.inf else float(ratio ** (-2.0 * eta))


def _span(now: Level, to: Level, eta: float) -> tuple[float, float]:
    return clock(float(now.ratio), eta), clock(float(to.ratio), eta)


class NoiseRule:
    """The rule that draws nothing; the others are its siblings. Subclasses are frozen dataclasses."""

    stochastic = True

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
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

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """Fresh = eta sqrt(to^2 (now^2 - to^2) / now^2), down = sqrt(to^2 - fresh^2), as ratios."""
        ratio, alpha = float(to.ratio), float(to.alpha)
        fresh = self.eta * ratio * math.sqrt(_lost(now, to))
        down = ratio * math.sqrt(1.0 - self.eta**2 * _lost(now, to))
        span = _span(now, to, self.eta**2)  # what the rule tends to in small steps
        return Split(_level(to, down), alpha * fresh, exact=False, span=span)


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

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """The ancestral split for the mean; the posterior's standard deviation for the noise."""
        down = float(to.ratio) * math.sqrt(1.0 - _lost(now, to))
        numbers = transition(now, to)
        small, large = math.sqrt(float(numbers.small)), math.sqrt(float(numbers.large))
        span = _span(now, to, 1.0)
        if self.variance == "fixed_large":
            return Split(_level(to, down), large, exact=False, span=span)
        other = large if self.variance == "learned_range" else None
        return Split(_level(to, down), small, other, exact=False, span=span)


@dataclass(frozen=True)
class SDE(NoiseRule):
    """The reverse SDE with eta times its noise, integrated with its own kernel (Lu et al. 2022b; Gonzalez et al. 2023).

    eta: 0 is the ODE, 1 the reverse SDE of Song et al. 2021b.
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        _check_eta(self.eta, math.inf)

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """The solver goes all the way with the sharper kernel; fresh = sigma sqrt(1 - (to / now)^(2 eta))."""
        return sde_split(now, to, self.eta)


@dataclass(frozen=True)
class Tau(NoiseRule):
    """SA-Solver's tau: the reverse SDE of strength eta = tau^2 inside a band, the ODE outside it (Xue et al. 2023).

    low, high: the band, as ratios sigma / alpha of the level where a step begins. Their default for pictures is
    tau 1 from ratio 0.05 to 1 on EDM's scale.
    """

    tau: float = 1.0
    low: float = 0.05
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.tau < math.inf and 0.0 <= self.low < self.high):
            raise InputError(
                f"tau is {self.tau} from {self.low} to {self.high}; give tau >= 0 and 0 <= low < high."
            )

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """As SDE(tau^2) inside the band, as Deterministic outside."""
        inside = self.low <= float(now.ratio) <= self.high
        return sde_split(now, to, self.tau**2) if inside else Split(to)


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


def sde_split(now: Level, to: Level, eta: float) -> Split:
    """The reverse SDE's share: all the way down with the sharper kernel, noise sigma sqrt(1 - (to / now)^(2 eta))."""
    if eta == 0.0:
        return Split(to)
    part = (float(to.ratio) / float(now.ratio)) ** (2.0 * eta)
    return Split(to, float(to.sigma) * math.sqrt(1.0 - part), eta=eta, span=_span(now, to, eta))


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
