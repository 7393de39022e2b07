"""Solvers: how a step follows the reverse process, from what the network said so far."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from unnoise.errors import InputError
from unnoise.process import Level, NoiseSchedule, Unknown
from unnoise.schedulers.moves import Look, Move
from unnoise.schedulers.noise import Split
from unnoise.schedulers.quadrature import (
    Variable,
    coordinate,
    from_coordinate,
    keep,
    midpoint_weights,
    weights,
)

_VARIABLES = ("sigma", "lambda", "flow")
_UNKNOWNS = ("x0", "noise", "flow")


class Solver(abc.ABC):
    """A rule that turns two levels and the levels looked at before into moves.

    Subclasses are frozen dataclasses with a field `order`, the order of convergence on a smooth problem.
    """

    @property
    @abc.abstractmethod
    def calls(self) -> int:
        """Network calls a step."""

    @abc.abstractmethod
    def moves(
        self, now: Level, split: Split, past: Sequence[Level], schedule: NoiseSchedule
    ) -> tuple[Look | Move, ...]:
        """The moves from `now` to `split.down` and the fresh noise.

        past: levels looked at in earlier steps, latest first. schedule: where levels in between are found.
        """


@dataclass(frozen=True)
class Adams(Solver):
    """The multistep solver: a polynomial through the latest estimates, integrated exactly.

    That is the (exponential) Adams-Bashforth method. order: how many estimates it uses, 1 to 4; it starts with
    what there is. variable: in what the polynomial is ("sigma", "lambda", "flow"). unknown: of what ("x0",
    "noise", "flow"). quadrature: "exact", or "midpoint" for the polynomial's value at the middle of the step.

    Euler and DDIM are order 1. LMS is sigma with noise, DEIS lambda with noise (Zhang & Chen 2023), DPM-Solver++
    lambda with x0 (Lu et al. 2022b), and on flow models flow with flow is the plain Adams-Bashforth rule.
    """

    order: int = 1
    variable: Variable = "lambda"
    unknown: Unknown = "x0"
    quadrature: Literal["exact", "midpoint"] = "exact"

    def __post_init__(self) -> None:
        if isinstance(self.order, bool) or self.order not in (1, 2, 3, 4):
            raise InputError(f"order is {self.order}; Adams has orders 1, 2, 3 and 4.")
        _check_kind(self.variable, self.unknown)
        if self.quadrature not in ("exact", "midpoint"):
            raise InputError(f"quadrature is {self.quadrature!r}; give exact or midpoint.")

    @property
    def calls(self) -> int:
        """One."""
        return 1

    def moves(
        self, now: Level, split: Split, past: Sequence[Level], schedule: NoiseSchedule
    ) -> tuple[Look | Move, ...]:
        """One look, one move. Raises InputError for SDE noise with another unknown than x0."""
        if split.eta > 0.0 and self.unknown != "x0":
            raise InputError(
                f"the SDE noise rule works on x0, the solver's unknown is {self.unknown}; use unknown='x0'."
            )
        unknown = _finite_unknown(self.unknown, now)
        nodes = (now, *past)[: self.order]
        rule = weights if self.quadrature == "exact" else midpoint_weights
        factors = rule(unknown, self.variable, nodes, now, split.down, split.eta)
        return Look(now), _last_move(unknown, factors, now, split)


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
        _check_kind(self.variable, self.unknown)
        if not self.stages or self.stages[-1].at != 1.0:
            raise InputError("the last stage of a Runge-Kutta step must lie at its end; give it at=1.0.")
        for i, stage in enumerate(self.stages):
            if not stage.uses or not set(stage.uses) <= set(range(i + 1)):
                raise InputError(f"stage {i} uses the looks {stage.uses}; it may use 0 to {i}.")

    @property
    def calls(self) -> int:
        """One a stage."""
        return len(self.stages)

    def moves(
        self, now: Level, split: Split, past: Sequence[Level], schedule: NoiseSchedule
    ) -> tuple[Look | Move, ...]:
        """Looks and moves in turn; one Euler move where an end of the step is infinite in the variable."""
        unknown = _finite_unknown(self.unknown, now)
        if split.eta > 0.0:
            raise InputError(
                "a Runge-Kutta solver cannot use the SDE noise rule, whose noise belongs to the whole step; "
                "use Ancestral noise, or an Adams solver."
            )
        if not self._can_step(now, split.down):
            return Look(now), _last_move(
                unknown, weights(unknown, self.variable, (now,), now, split.down), now, split
            )
        moves: list[Look | Move] = []
        looked = [now]
        for stage in self.stages[:-1]:
            target = self._level_at(stage.at, now, split, schedule)
            moves += [Look(looked[-1]), self._move(stage, looked, now, target, unknown)]
            looked.append(target)
        last = self._move(self.stages[-1], looked, now, split.down, unknown)
        return (*moves, Look(looked[-1]), _last_move(unknown, last.of_estimates, now, split))

    def _move(self, stage: Stage, looked: Sequence[Level], now: Level, to: Level, unknown: Unknown) -> Move:
        factors = weights(unknown, self.variable, [looked[i] for i in stage.uses], now, to)
        latest_first = [0.0] * len(looked)
        for i, factor in zip(stage.uses, factors, strict=True):
            latest_first[len(looked) - 1 - i] = factor
        return Move(keep(unknown, now, to), tuple(latest_first), unknown, settles=False)

    def _level_at(self, share: float, now: Level, split: Split, schedule: NoiseSchedule) -> Level:
        """A level of the schedule at this share of the step, counted in the variable."""
        if share == 1.0 and split.exact:
            return split.down
        start, end = (coordinate(self.variable, float(level.ratio)) for level in (now, split.down))
        return schedule.at_ratio(from_coordinate(self.variable, start + share * (end - start)))

    def _can_step(self, now: Level, to: Level) -> bool:
        inside = all(math.isfinite(coordinate(self.variable, float(level.ratio))) for level in (now, to))
        return inside and float(to.sigma) > 0.0 and float(now.alpha) > 0.0


def _finite_unknown(unknown: Unknown, now: Level) -> Unknown:
    """x0 in place of the noise where `now` holds no signal: there the noise is x itself and tells nothing."""
    return "x0" if unknown == "noise" and now.alpha == 0.0 else unknown


def _last_move(unknown: Unknown, factors: tuple[float, ...], now: Level, split: Split) -> Move:
    return Move(keep(unknown, now, split.down, split.eta), factors, unknown, split.fresh, split.large)


def _check_kind(variable: str, unknown: str) -> None:
    if variable not in _VARIABLES:
        raise InputError(f"variable is {variable!r}; give one of {', '.join(_VARIABLES)}.")
    if unknown not in _UNKNOWNS:
        raise InputError(f"unknown is {unknown!r}; give one of {', '.join(_UNKNOWNS)}.")


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
