"""Rules that other programs ship and theory does not: kept so that their pictures can be made again.

Each says what it gets wrong. None is better than an exact rule of the same cost once steps are small; all are of
lower order than their names or numbers of estimates suggest. They work on the noise, in the ratio sigma / alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.limits import is_whole, number, shown
from unnoise.schedulers.moves import Look, Move, Moves
from unnoise.schedulers.quadrature import keep, whole
from unnoise.schedulers.solvers import Adams, Leg, Solver
from unnoise.schedulers.solvers.base import OneLook, check_order, finite_unknown, last_move, places

EQUAL_STEPS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Adams-Bashforth's weights for equal steps, orders 1 to 4, latest first."""


@dataclass(frozen=True)
class FixedWeights(OneLook):
    """A multistep rule whose weights do not know the lengths of the steps.

    table: row k for k + 1 known estimates, latest first; the last row from then on. Where the weights of a row add
    up to 1 the order is 1, and 2 at most where the grid's steps grow smoothly; exact quadrature has k + 1.
    """

    table: tuple[tuple[float, ...], ...]
    order: int = 1
    takes = places("noise")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.table or any(len(row) != k + 1 for k, row in enumerate(self.table)):
            lengths = [len(row) for row in self.table]
            raise InputError(f"table has rows of {lengths} weights; give rows of 1, 2, 3, ... weights.")

    def move(self, leg: Leg) -> Move:
        """The whole step with the weighted mean of the latest noises; the clean sample where there is no signal."""
        unknown = finite_unknown("noise", leg.now)
        weights = self.table[min(len(leg.past), len(self.table) - 1)] if unknown == "noise" else (1.0,)
        mass = whole(unknown, leg.now, leg.split.down)
        return last_move(unknown, [mass * weight for weight in weights], leg.now, leg.split)


def ipndm(order: int = 4) -> FixedWeights:
    """IPNDM: Adams-Bashforth's weights for equal steps, on steps that are not equal (ComfyUI, diffusers).

    Wrong: the weights; of second order on smooth grids where `Adams(4, "sigma", "noise")` is of fourth.
    """
    check_order("IPNDM", order, 4)
    return FixedWeights(EQUAL_STEPS[:order], min(order, 2))


def gradient_estimation(gamma: float = 2.0) -> FixedWeights:
    """The noise gamma times as new as it is: gamma eps - (gamma - 1) eps of before (ComfyUI; Permenter & Yuan 2024).

    Wrong: gamma = 3/2 is Adams' second order for equal steps; the usual 2 is of first order.
    """
    gamma = number("gamma", gamma, 1.0, example=2)
    return FixedWeights(((1.0,), (gamma, 1.0 - gamma)))


def lms_late(shift: int = 1) -> FixedWeights:
    """LMS whose history is read `shift` places off, so that it steps with an old noise (stable-diffusion.cpp).

    Wrong: the latest estimate is not used at all; the error hardly falls with the number of steps. Equal-step weights.
    """
    if not is_whole(shift, 1, 3):
        raise InputError(f"shift is {shown(shift)}; give 1, 2 or 3.")
    rows = [(1.0,)] + [(*[0.0] * min(k, shift), *EQUAL_STEPS[max(0, k - shift)]) for k in (1, 2, 3)]
    return FixedWeights(tuple(rows))


@dataclass(frozen=True)
class MeanStep(OneLook):
    """DPM++ 2M "v2": the step's length replaced by the mean of it and the last (k-diffusion #56, stable-diffusion.cpp).

    With h, h_last the steps in lambda, m = (h + h_last) / 2 and r the longer over the shorter:
    x_to = sigma_to / sigma x + alpha_to (1 - e^-m) ((1 + 1 / 2r) x0 - 1 / 2r x0_last).
    Wrong: the factors of x and of x0 belong to different lengths, so that even a constant x0 is missed.
    """

    order = 1
    takes = ()

    def move(self, leg: Leg) -> Move:
        """The step; the first, and where an end is infinite, is first order."""
        now, to = leg.now, leg.split.down
        if not leg.past or to.sigma == 0.0 or leg.past[0].alpha == 0.0:
            return Adams(1).move(leg)
        steps = [0.5 * (float(b.log_snr) - float(a.log_snr)) for a, b in ((now, to), (leg.past[0], now))]
        mass = -float(to.alpha) * math.expm1(-0.5 * sum(steps))
        part = 0.5 / max(steps[0] / steps[1], steps[1] / steps[0])  # on the way up both are negative
        return last_move("x0", (mass * (1.0 + part), -mass * part), now, leg.split)


@dataclass(frozen=True)
class HeunPlusPlus(Solver):
    """Heun++ 2: looks at the next two levels of the grid, weighted by their noise over the first level's (ComfyUI).

    d = (1 - w2 - w3) d1 + w2 d2 + w3 d3 with w_k = ratio_k / (3 ratio_first), two of them on the last noisy step.
    Wrong: the weights do not make d the mean slope of the step; of first order at three calls a step.
    """

    order, calls = 1, 3
    takes = ()

    def moves(self, leg: Leg) -> Moves:
        """Euler to the next level and on to the one after it, then the step with the weighted noises."""
        now, to = leg.now, leg.split.down
        unknown = finite_unknown("noise", now)
        mass = whole(unknown, now, to)
        if unknown != "noise" or to.sigma == 0.0:
            return Look(now), last_move(unknown, (mass,), now, leg.split)
        moves: list[Look | Move] = [Look(now), Move(keep("noise", now, to), (mass,), "noise", settles=False)]
        reach = [to, *(level for level in leg.levels[leg.index + 2 : leg.index + 3] if level.sigma > 0.0)]
        if len(reach) == 2:
            ahead = reach[1]
            parts = whole("noise", to, ahead), keep("noise", to, ahead) * mass  # latest noise first
            moves += [Look(to), Move(keep("noise", now, ahead), parts, "noise", settles=False)]
        first = float(leg.levels[0].ratio)
        shares = [float(level.ratio) / ((len(reach) + 1) * first) for level in reach]
        factors = [mass * share for share in (1.0 - sum(shares), *shares)]
        return (*moves, Look(reach[-1]), last_move("noise", factors[::-1], now, leg.split))
