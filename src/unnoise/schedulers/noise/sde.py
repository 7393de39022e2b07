"""The reverse stochastic differential equation, of one strength or of several."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.limits import Amount
from unnoise.process import Level, NoiseSchedule
from unnoise.schedulers.noise.base import NoiseRule, OfStrength, Split, span_of


@dataclass(frozen=True)
class SDE(OfStrength):
    """The reverse SDE with eta times its noise, integrated with its own kernel (Lu et al. 2022b; Gonzalez et al. 2023).

    eta: 0 is the ODE, 1 the reverse SDE of Song et al. 2021b. With a solver of order 2 or 3 the result's mean is of
    that order and its covariance of second: noise within a step is seen at the next look only.
    """

    enters = "within"

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """The solver goes all the way with the sharper kernel; fresh = sigma sqrt(1 - (to / now)^(2 eta))."""
        return sde_split(now, to, self.eta)


@dataclass(frozen=True)
class Tau(NoiseRule):
    """SA-Solver's tau: the reverse SDE of strength eta = tau^2 inside a band, the ODE outside it (Xue et al. 2023).

    low, high: the band, as ratios sigma / alpha of the level where a step begins. Their default for pictures is
    tau 1 from ratio 0.05 to 1 on EDM's scale.
    """

    enters = "within"
    tau: Amount = 1.0
    low: float = 0.05
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.low < self.high:
            raise InputError(f"tau's band is {self.low} to {self.high}; give 0 <= low < high.")

    @property
    def stochastic(self) -> bool:
        """Where tau is positive."""
        return self.tau > 0.0

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """As SDE(tau^2) inside the band, as Deterministic outside."""
        inside = self.low <= float(now.ratio) <= self.high
        return sde_split(now, to, self.tau**2) if inside else Split(to)


@dataclass(frozen=True)
class ExtendedSDE(NoiseRule):
    """ER-SDE: a strength that falls with the noise (Cui et al. 2023); scaler phi(w) = w (exp(w^power) + shift).

    The kernel phi(to) / phi(now) is met exactly at each step by the SDE of eta = ln(phi_to / phi_now) / ln(to / now)
    - 1. With Adams(3, "sigma", "x0") this is ER-SDE-Solver-3, whose polynomials are in w.
    """

    enters = "within"
    power: Amount = 0.3
    shift: Amount = 10.0

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """As SDE(eta) with the step's own eta; where `now` holds no signal all of the noise is new."""
        begin, goal = float(now.ratio), float(to.ratio)
        if begin == math.inf:
            return sde_split(now, to, 1.0)
        eta = (self._log_rest(goal) - self._log_rest(begin)) / math.log(goal / begin)
        return sde_split(now, to, eta, pace=1.0)

    def _log_rest(self, ratio: float) -> float:
        """Ln(phi(w) / w)."""
        growth = ratio**self.power
        out: float = growth + math.log1p(self.shift * math.exp(-growth))
        return out


def sde_split(now: Level, to: Level, eta: float, pace: float | None = None) -> Split:
    """The reverse SDE's share: all the way down with the sharper kernel, noise sigma sqrt(1 - (to / now)^(2 eta))."""
    if eta == 0.0:
        return Split(to)
    clock_pace = eta if pace is None else pace
    part = (float(to.ratio) / float(now.ratio)) ** (2.0 * eta)
    return Split(
        to,
        float(to.sigma) * math.sqrt(1.0 - part),
        eta=eta,
        span=span_of(now, to, clock_pace),
        pace=clock_pace,
    )
