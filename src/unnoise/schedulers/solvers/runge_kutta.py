"""Single-step solvers: several looks inside a step, no memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from unnoise.errors import InputError
from unnoise.process import Level
from unnoise.schedulers.moves import Look, Move, Unknown
from unnoise.schedulers.quadrature import Variable, coordinate, from_coordinate, keep, weights
from unnoise.schedulers.solvers.base import Leg, Solver, check_kind, finite_unknown, last_move


@dataclass(frozen=True)
class Stage:
    """A stage of a Runge-Kutta step: go to the share `at` of the step, by the polynomial through the looks `uses`."""

    at: float
    uses: tuple[int, ...]


@dataclass(frozen=True)
class RungeKutta(Solver):
    """A single-step solver given by its stages; each is integrated exactly, as for Adams.

    stages: where each look is taken and which looks lead there; the last has at = 1. The step's shares are in
    `variable`. order is declared, and tested.
    """

    stages: tuple[Stage, ...]
    order: int
    variable: Variable = "lambda"
    unknown: Unknown = "x0"

    def __post_init__(self) -> None:
        check_kind(self.variable, self.unknown)
        if not self.stages or self.stages[-1].at != 1.0:
            raise InputError("the last stage of a Runge-Kutta step must lie at its end; give it at=1.0.")
        for i, stage in enumerate(self.stages):
            if not stage.uses or not set(stage.uses) <= set(range(i + 1)):
                raise InputError(f"stage {i} uses the looks {stage.uses}; it may use 0 to {i}.")

    @property
    def calls(self) -> int:
        """One a stage."""
        return len(self.stages)

    def moves(self, leg: Leg) -> tuple[Look | Move, ...]:
        """Looks and moves in turn; one Euler move where an end of the step is infinite in the variable."""
        now, split = leg.now, leg.split
        unknown = finite_unknown(self.unknown, now)
        if split.eta > 0.0:
            raise InputError(
                "a Runge-Kutta solver cannot use the SDE noise rule, whose noise belongs to the whole step; "
                "use Ancestral noise, an Adams solver, or SDETwoStage."
            )
        if not self._can_step(now, split.down):
            return Look(now), last_move(
                unknown, weights(unknown, self.variable, (now,), now, split.down), now, split
            )
        moves: list[Look | Move] = []
        looked = [now]
        for stage in self.stages[:-1]:
            target = self._level_at(stage.at, leg)
            moves += [Look(looked[-1]), self._move(stage, looked, now, target, unknown)]
            looked.append(target)
        last = self._move(self.stages[-1], looked, now, split.down, unknown)
        return (*moves, Look(looked[-1]), last_move(unknown, last.of_estimates, now, split))

    def _move(self, stage: Stage, looked: Sequence[Level], now: Level, to: Level, unknown: Unknown) -> Move:
        factors = weights(unknown, self.variable, [looked[i] for i in stage.uses], now, to)
        latest_first = [0.0] * len(looked)
        for i, factor in zip(stage.uses, factors, strict=True):
            latest_first[len(looked) - 1 - i] = factor
        return Move(keep(unknown, now, to), tuple(latest_first), unknown, settles=False)

    def _level_at(self, share: float, leg: Leg) -> Level:
        """A level of the schedule at this share of the step, counted in the variable."""
        if share == 1.0 and leg.split.exact:
            return leg.split.down
        start, end = (coordinate(self.variable, float(level.ratio)) for level in (leg.now, leg.split.down))
        return leg.schedule.at_ratio(from_coordinate(self.variable, start + share * (end - start)))

    def _can_step(self, now: Level, to: Level) -> bool:
        inside = all(math.isfinite(coordinate(self.variable, float(level.ratio))) for level in (now, to))
        return inside and float(to.sigma) > 0.0 and float(now.alpha) > 0.0


Heun = partial(RungeKutta, (Stage(1.0, (0,)), Stage(1.0, (0, 1))), 2, "sigma", "noise")
"""Euler, look again, average the two slopes (Karras et al. 2022, alg. 1)."""

Midpoint = partial(RungeKutta, (Stage(0.5, (0,)), Stage(1.0, (1,))), 2, "lambda", "noise")
"""Half a step in lambda, look, the whole step with what was seen there: DPM-Solver-2, k-diffusion's dpm_2."""

TwoStage = partial(RungeKutta, (Stage(0.5, (0,)), Stage(1.0, (1,))), 2, "lambda", "x0")
"""The same in terms of x0: DPM-Solver++ 2S (Lu et al. 2022b, alg. 1)."""

ThreeStage = partial(
    RungeKutta, (Stage(1 / 3, (0,)), Stage(2 / 3, (0, 1)), Stage(1.0, (0, 2))), 3, "lambda", "noise"
)
"""DPM-Solver-3 (Lu et al. 2022a, alg. 2)."""
