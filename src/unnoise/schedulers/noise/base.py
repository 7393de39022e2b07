"""What every noise rule answers: how a step is shared between the solver and fresh noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from unnoise.errors import InputError
from unnoise.limits import Amount, Declared
from unnoise.process import Level, NoiseSchedule

Place = Literal["before", "within", "after"]
"""Where in a step noise enters: before the solver moves, in its kernel (an SDE), or once it has moved."""

_SHORTEST = 2.0**-20  # of the clock's reading; a Brownian path is straight below 2^-24 of it


@dataclass(frozen=True)
class Split:
    """down: the level that the solver aims at, in the scaling of the next level; `exact` where it is that level.

    fresh: standard deviation of the noise added there. large: the same at the other end of a learned variance.
    eta: strength of the SDE in the solver's kernel. span: the stretch of the Brownian path that the noise is, on
    the rule's clock, and pace: the exponent of that clock.
    """

    down: Level
    fresh: float = 0.0
    large: float | None = None
    eta: float = 0.0
    exact: bool = True
    span: tuple[float, float] | None = None
    pace: float = 1.0


def clock(ratio: float, pace: float) -> float:
    """ratio^(-2 pace): on this clock the noise of the SDE of strength `pace` is one Brownian path, whatever the steps.

    In y = x / (sigma ratio^pace) that SDE adds noise of variance clock(to) - clock(now), and nothing fades. Raises
    InputError where the number is beyond float64.
    """
    try:
        return 0.0 if ratio == math.inf else float(ratio ** (-2.0 * pace))
    except OverflowError as error:
        raise InputError(
            f"noise of strength {pace:g} is too much at ratio {ratio:g}; give eta of 1 or so."
        ) from error


def span_of(now: Level, to: Level, pace: float) -> tuple[float, float] | None:
    """The stretch of the path between two levels on the clock of this pace; None where it is too short to be one."""
    start, end = clock(float(now.ratio), pace), clock(float(to.ratio), pace)
    return (start, end) if start < end * (1.0 - _SHORTEST) else None


class NoiseRule(Declared):
    """What all rules share. Subclasses are frozen dataclasses, checked when they are made.

    enters: the place of its noise, for which a solver must have room (`Solver.takes`).
    """

    example = "noise.none()"
    enters: ClassVar[Place] = "after"

    @property
    def stochastic(self) -> bool:
        """Whether it draws anything."""
        return True

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
class OfStrength(NoiseRule):
    """A rule of strength `eta`; with 0 it draws nothing and is the same as `Deterministic`."""

    eta: Amount = 1.0

    @property
    def stochastic(self) -> bool:
        """Where eta is positive."""
        return self.eta > 0.0


def none() -> Deterministic:
    """No fresh noise."""
    return Deterministic()


def level_at(to: Level, ratio: float) -> Level:
    """The level of this ratio in the scaling of `to`."""
    return Level(to.time, to.alpha, float(to.alpha) * ratio)
