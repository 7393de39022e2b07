"""Steps as long as a tolerance allows: a controller over the Runge-Kutta solvers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from unnoise.errors import InputError
from unnoise.process import Estimate, Level, NoiseSchedule
from unnoise.schedulers.finals import ToClean
from unnoise.schedulers.grids import clean_level
from unnoise.schedulers.moves import Look, Move
from unnoise.schedulers.noise import Split
from unnoise.schedulers.plan import Denoise
from unnoise.schedulers.quadrature import coordinate, from_coordinate, keep, weights
from unnoise.schedulers.solvers import Leg, RungeKutta, ThreeStage
from unnoise.schedulers.solvers.adams import spread
from unnoise.schedulers.step import Step


@dataclass(frozen=True)
class Controller:
    """How the next step's length follows from the errors of the last (PID; Soederlind 2003).

    factor = limit((1/e_n)^b1 (1/e_n-1)^b2 (1/e_n-2)^b3), limit(f) = 1 + atan(f - 1); a step is accepted where its
    factor is at least `safety`.
    """

    proportional: float = 0.0
    integral: float = 1.0
    derivative: float = 0.0
    safety: float = 0.81

    def factor(self, errors: tuple[float, ...], order: int) -> float:
        """Of the next step's length; errors: in units of the tolerance, latest first, at least one."""
        p, i, d = self.proportional, self.integral, self.derivative
        powers = ((p + i + d) / order, -(p + 2.0 * d) / order, d / order)
        filled = (*errors, *[errors[-1]] * 2)[:3]
        raw = math.prod((error + 1e-8) ** -power for error, power in zip(filled, powers, strict=True))
        return 1.0 + math.atan(raw - 1.0)


@dataclass(frozen=True)
class Adaptive:
    """The probability-flow ODE to a tolerance, with as many network calls as that takes.

    solver: a Runge-Kutta solver of two stages or more. The same step without its last look is of an order less,
    and their difference is the error: root mean square over a sample of |high - low| / max(absolute, relative *
    size), the largest of the batch, in units of u = x / alpha. A sample that must not depend on its batch is run
    alone. first: length of the first step in the solver's variable, as a share of the way.

    With DPM-Solver's stages this is dpm_adaptive of k-diffusion (Lu et al. 2022a, app. C).
    """

    relative: float = 0.05
    absolute: float = 0.0078
    solver: RungeKutta = field(default_factory=ThreeStage)
    controller: Controller = field(default_factory=Controller)
    first: float = 0.01
    most: int = 1000

    def __post_init__(self) -> None:
        if not (self.relative >= 0.0 and self.absolute > 0.0 and 0.0 < self.first <= 1.0 and self.most >= 1):
            raise InputError(
                f"tolerances are {self.relative} and {self.absolute}, the first step {self.first}, at most "
                f"{self.most}; give relative >= 0, absolute > 0, 0 < first <= 1 and at least one step."
            )
        if len(self.solver.stages) < 2:
            raise InputError(
                "an error is estimated from two stages or more; give ThreeStage() or TwoStage()."
            )

    def run(
        self,
        schedule: NoiseSchedule,
        denoise: Denoise,
        x: Tensor,
        start: Level | None = None,
        end: Level | None = None,
    ) -> Iterator[Step]:
        """The accepted steps, one by one; the last one's x is the result.

        x: (batch, ...) at `start`, by default the schedule's noisiest level. end: by default the cleanest level and
        from there the jump to clean data; a noisier level than `start` leads the sample back to noise.

        Raises InputError where the way has no finite length in the solver's variable, or takes too many steps.
        """
        begin, goal = start or schedule.noisiest, end or schedule.cleanest
        here, there = self._place(begin), self._place(goal)
        self._check_way(begin, goal, here, there)
        now, length, index = begin, (there - here) * self.first, 0
        errors: tuple[float, ...] = ()
        for _ in range(self.most):
            rest = there - self._place(now)
            last = abs(length) >= abs(rest) * (1.0 - 1e-9)
            to = goal if last else self._level(schedule, self._place(now) + length)
            high, low, looks = self._try(schedule, denoise, x, now, to)
            errors = (self._error(x, now, high, low, to), *errors[:2])
            factor = self.controller.factor(errors, self.solver.order)
            length = (rest if last else length) * factor
            if factor < self.controller.safety:
                errors = errors[1:]
                continue
            x = high
            yield Step(index, now, looks[-1], to, x)
            now, index = to, index + 1
            if last:
                break
        else:
            raise InputError(f"{self.most} steps did not reach the end; allow a larger error, or more steps.")
        if end is None:
            yield _jump(schedule, denoise, x, goal, index)

    def _try(
        self, schedule: NoiseSchedule, denoise: Denoise, x: Tensor, now: Level, to: Level
    ) -> tuple[Tensor, Tensor, list[Estimate]]:
        """The step's result, the same an order lower, and the looks, latest first."""
        looks: list[Estimate] = []
        levels: list[Level] = []
        place = x
        for move in self.solver.moves(Leg(now, Split(to), (), schedule)):
            if isinstance(move, Look):
                answer = denoise(place, move.level)
                seen = answer if isinstance(answer, Estimate) else Estimate.from_x0(place, move.level, answer)
                looks, levels = [seen, *looks], [move.level, *levels]
            else:
                place = move.apply(x, looks, None)
        unknown = self.solver.unknown
        fewer = list(reversed(levels[1:]))
        factors = weights(unknown, self.solver.variable, fewer, now, to)
        order = [len(levels) - 1 - i for i in range(len(fewer))]
        low = Move(keep(unknown, now, to), tuple(spread(order, factors)), unknown).apply(x, looks, None)
        return place, low, looks

    def _error(self, x: Tensor, now: Level, high: Tensor, low: Tensor, to: Level) -> float:
        before, after = _scale(now), _scale(to)
        size = (x.abs() / before).maximum(low.abs() / after)
        miss = (high - low) / after / (size * self.relative).clamp(min=self.absolute)
        return float(miss.flatten(1).pow(2).mean(1).max().sqrt())

    def _place(self, level: Level) -> float:
        return coordinate(self.solver.variable, float(level.ratio))

    def _level(self, schedule: NoiseSchedule, place: float) -> Level:
        return schedule.at_ratio(from_coordinate(self.solver.variable, place))

    def _check_way(self, begin: Level, goal: Level, here: float, there: float) -> None:
        if not (math.isfinite(here) and math.isfinite(there)) or begin.alpha == 0.0:
            raise InputError(
                f"the way from ratio {float(begin.ratio):g} has no finite length in {self.solver.variable}; "
                "start at a level that holds signal."
            )
        if here == there or goal.sigma == 0.0 or begin.sigma == 0.0:
            raise InputError(
                "give two levels with noise for the start and the end; the last jump is made besides."
            )


def _scale(level: Level) -> float:
    return float(level.alpha)


def _jump(schedule: NoiseSchedule, denoise: Denoise, x: Tensor, now: Level, index: int) -> Step:
    answer = denoise(x, now)
    seen = answer if isinstance(answer, Estimate) else Estimate.from_x0(x, now, answer)
    clean = clean_level(schedule)
    move = ToClean(1).move(Leg(now, Split(clean), (), schedule))
    return Step(index, now, seen, clean, move.apply(x, [seen], None))
