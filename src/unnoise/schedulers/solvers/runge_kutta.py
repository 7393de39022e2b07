"""Single-step solvers: several looks inside a step, no memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from unnoise.errors import InputError
from unnoise.limits import Declared
from unnoise.process import Level
from unnoise.schedulers.moves import Look, Move, Moves, Unknown
from unnoise.schedulers.noise import Place, Split
from unnoise.schedulers.noise.base import span_of
from unnoise.schedulers.quadrature import Variable, coordinate, from_coordinate, weights
from unnoise.schedulers.solvers.adams import spread
from unnoise.schedulers.solvers.base import Leg, Solver, finite_unknown, last_move, places


@dataclass(frozen=True)
class Stage(Declared):
    """A stage of a Runge-Kutta step: go to the share `at` of the step, by the polynomial through the looks `uses`."""

    at: float
    uses: tuple[int, ...]


@dataclass(frozen=True)
class RungeKutta(Solver):
    """A single-step solver given by its stages; each is integrated exactly, as for Adams.

    stages: where each look is taken and which looks lead there; the last has at = 1. The step's shares are in
    `variable`. order is declared, and tested.

    With SDE noise each stage has the noise of its own stretch of the path, and the later ones contain it: drawn
    apart, an order is lost. Ancestral noise is added once, at the end of the step.
    """

    stages: tuple[Stage, ...]
    order: int
    variable: Variable = "lambda"
    unknown: Unknown = "x0"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stages or self.stages[-1].at != 1.0:
            raise InputError(
                f"the last of {len(self.stages)} stages must lie at the step's end; give it at=1.0."
            )
        for i, stage in enumerate(self.stages):
            if not stage.uses or not set(stage.uses) <= set(range(i + 1)):
                raise InputError(f"stage {i} uses the looks {stage.uses}; it may use 0 to {i}.")

    @property
    def calls(self) -> int:
        """One a stage."""
        return len(self.stages)

    @property
    def takes(self) -> tuple[Place, ...]:
        """That of an SDE with x0 alone."""
        return places(self.unknown)

    def moves(self, leg: Leg) -> Moves:
        """Looks and moves in turn; one Euler move where an end of the step is infinite in the variable."""
        now, split = leg.now, leg.split
        unknown = finite_unknown(self.unknown, now)
        if not self._can_step(now, split.down):
            factors = weights(unknown, self.variable, (now,), now, split.down, split.eta)
            return Look(now), last_move(unknown, factors, now, split)
        moves: list[Look | Move] = []
        looked = [now]
        passed = [now]  # the levels up to which the SDE's path is drawn
        for stage in self.stages:
            last = len(looked) == len(self.stages)
            aim = split if last else Split(self._level_at(stage.at, leg), eta=split.eta, pace=split.pace)
            nodes = [looked[i] for i in stage.uses]
            factors = weights(unknown, self.variable, nodes, now, aim.down, split.eta)
            places = [len(looked) - 1 - i for i in stage.uses]
            move = last_move(unknown, spread(places, factors), now, aim)
            if split.eta > 0.0:
                move = _with_path(move, aim, passed)
            moves += [Look(looked[-1]), replace(move, settles=last)]
            looked.append(aim.down)
        return tuple(moves)

    def _level_at(self, share: float, leg: Leg) -> Level:
        """A level of the schedule at this share of the step, counted in the variable."""
        if share == 1.0 and leg.split.exact:
            return leg.split.down
        start, end = (coordinate(self.variable, float(level.ratio)) for level in (leg.now, leg.split.down))
        return leg.schedule.at_ratio(from_coordinate(self.variable, start + share * (end - start)))

    def _can_step(self, now: Level, to: Level) -> bool:
        inside = all(math.isfinite(coordinate(self.variable, float(level.ratio))) for level in (now, to))
        return inside and float(to.sigma) > 0.0 and float(now.alpha) > 0.0


def _with_path(move: Move, split: Split, passed: list[Level]) -> Move:
    """The move with the SDE's noise up to its end: stretches of one Brownian path, drawn once and used again.

    passed: the levels up to which the path is drawn; a new one is appended.

    The stretch from level a to level b enters at level c with sigma_c (c / b)^eta sqrt(1 - (b / a)^(2 eta)) in ratios.
    """
    end, eta = split.down, split.eta
    goal = float(end.ratio)
    if goal > float(passed[-1].ratio):
        raise InputError(
            "with SDE noise the stages of a Runge-Kutta step must not go back; order them by `at`."
        )
    new = goal < float(passed[-1].ratio)
    if new:
        passed.append(end)
    ratios = [float(level.ratio) for level in passed]
    parts = tuple(
        float(end.sigma) * (goal / b) ** eta * math.sqrt(1.0 - (b / a) ** (2.0 * eta))
        for a, b in reversed(list(pairwise(ratios)))
    )
    if not new:
        return replace(move, noise=0.0, of_draws=parts, span=None)
    span = span_of(passed[-2], passed[-1], split.pace)
    return replace(move, noise=parts[0], of_draws=parts[1:], span=span)


Heun = partial(RungeKutta, (Stage(1.0, (0,)), Stage(1.0, (0, 1))), 2, "sigma", "noise")
"""Euler, look again, average the two slopes (Karras et al. 2022, alg. 1)."""

Midpoint = partial(RungeKutta, (Stage(0.5, (0,)), Stage(1.0, (1,))), 2, "lambda", "noise")
"""Half a step in lambda, look, the whole step with what was seen there: DPM-Solver-2, k-diffusion's dpm_2."""

TwoStage = partial(RungeKutta, (Stage(0.5, (0,)), Stage(1.0, (1,))), 2, "lambda", "x0")
"""The same in terms of x0: DPM-Solver++ 2S (Lu et al. 2022b, alg. 1)."""

ExponentialHeun = partial(RungeKutta, (Stage(1.0, (0,)), Stage(1.0, (0, 1))), 2, "lambda", "x0")
"""Heun's stages in terms of x0, integrated exactly in lambda: exp_heun_2_x0, and with SDE noise its _sde."""

_THIRDS = (Stage(1 / 3, (0,)), Stage(2 / 3, (0, 1)), Stage(1.0, (0, 2)))

ThreeStageX0 = partial(RungeKutta, _THIRDS, 3, "lambda", "x0")
"""DPM-Solver++ 3S; with SDE noise SEEDS-3 (Gonzalez et al. 2023, alg. 2). TwoStage with SDE noise is SEEDS-2 and
k-diffusion's dpmpp_sde."""

ThreeStage = partial(RungeKutta, _THIRDS, 3, "lambda", "noise")
"""DPM-Solver-3 (Lu et al. 2022a, alg. 2)."""
