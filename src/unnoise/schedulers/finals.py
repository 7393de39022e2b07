"""Final rules: the jump from the last noisy level to the clean sample, or none.

In lambda the clean sample lies at infinity, where a polynomial has no value; a method of any order is left with
a first-order jump there, and its error with a floor. But the process is smooth at its end in s = (sigma / alpha)^2,
because noised data obey the heat equation, whose time is s / 2: du/ds = -1/2 grad log p_s(u), u = x / alpha. So
x0 = u + s grad log p_s(u), seen along the way, can be extrapolated to s = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from unnoise.limits import Declared
from unnoise.process import Level
from unnoise.schedulers.moves import Move
from unnoise.schedulers.noise import NoiseRule
from unnoise.schedulers.quadrature import lagrange
from unnoise.schedulers.solvers import Adams, Corrected, Solver
from unnoise.schedulers.solvers.adams import distinct, spread
from unnoise.schedulers.solvers.base import Leg, OneLook, last_move

_GAP = math.log(1.3)  # ratio of neighbouring levels used: nearer ones would magnify the network's errors
_SMOOTH = 0.2  # ratio above which x0 still changes from one mode of the data to another and is no polynomial


class FinalRule(Declared):
    """How a plan ends. Subclasses are frozen dataclasses."""

    example = "finals.Stop()"
    appends_clean = True

    def jump(self, solver: Solver, noise: NoiseRule) -> OneLook:
        """The solver of the jump to clean data, after a way made with this solver and noise."""
        return Adams(order=1)


@dataclass(frozen=True)
class FirstOrder(FinalRule):
    """The last predicted x0 is the sample: what other libraries do, and all that one look can give."""


@dataclass(frozen=True)
class Extrapolate(FinalRule):
    """The solver's order is kept, with the estimates that it remembers.

    variable: "square" continues x0 as a polynomial in (sigma / alpha)^2 through as many estimates as the solver's
    order. With k of them the jump errs by the k-th power of the last level's square, half the power that a
    polynomial in sigma leaves; and where the data lie on a surface and x0 no longer changes, the jump is the last x0
    and nothing else, so that errors made before it are not carried into the picture. "sigma" continues the noise
    instead, Adams' own last step in that variable, as k-diffusion's LMS does.

    Only looks below sigma / alpha = 0.2 are continued, beside the last: above, x0 moves between modes of the data.
    A grid that ends above it (few steps equal in time) ends with the last x0, as everywhere else.

    After a stochastic way, along which x0 is a martingale, its last value is the best guess and is taken.
    """

    variable: Literal["square", "sigma"] = "square"

    def jump(self, solver: Solver, noise: NoiseRule) -> OneLook:
        """One estimate after fresh noise, else as many as the order."""
        order = solver.predictor.order if isinstance(solver, Corrected) else solver.order
        if noise.stochastic:
            return Adams(order=1)
        return ToClean(order) if self.variable == "square" else Adams(min(order, 4), "sigma", "noise")


@dataclass(frozen=True)
class Stop(FinalRule):
    """No jump: the plan ends at the grid's last level."""

    appends_clean = False


@dataclass(frozen=True)
class ToClean(OneLook):
    """x0 at no noise, by the polynomial in (sigma / alpha)^2 through `order` looks."""

    order: int

    def move(self, leg: Leg) -> Move:
        """The jump from `leg.now` to clean data."""
        held = self._held((leg.now, *leg.past))
        factors = lagrange([float(level.ratio) ** 2 for _, level in held], 0.0)
        alpha = float(leg.split.down.alpha)
        line = spread([place for place, _ in held], [alpha * factor for factor in factors])
        return last_move("x0", line, leg.now, leg.split)

    def _held(self, levels: tuple[Level, ...]) -> list[tuple[int, Level]]:
        """Looks in nearly geometric distance, 1.3 or as far as there are looks; each level once, its latest look."""
        if levels[0].ratio == math.inf:
            return [(0, levels[0])]
        known = [
            (i, level)
            for i, level in distinct(levels, len(levels))
            if i == 0 or float(level.ratio) <= _SMOOTH
        ]
        heights = [math.log(float(level.ratio) / float(levels[0].ratio)) for _, level in known]
        count = min(self.order, len(known))
        gap = min(_GAP, max(heights) / max(1, count - 1))
        held = [0]
        for left in range(count - 2, -1, -1):
            aim = heights[held[-1]] + gap
            choice = [i for i in range(held[-1] + 1, len(known) - left) if heights[i] > aim - 0.5 * gap]
            misses = [abs(height - aim) for height in heights]
            held.append(min(choice, key=misses.__getitem__) if choice else len(known) - left - 1)
        return [known[i] for i in held]
