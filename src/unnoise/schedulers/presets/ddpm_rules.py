"""diffusers' classes of one rule each: DDPM and DDIM on the table of products, Euler and Heun on a straight line."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from unnoise.process import Level
from unnoise.schedulers.moves import Look, Move, Moves
from unnoise.schedulers.presets.path import Path
from unnoise.schedulers.presets.preset import Noisy, Rule


@dataclass(frozen=True)
class DDIMRule(Noisy):
    """x' = sqrt(abar') x0 + sqrt(1 - abar' - fresh^2) eps + fresh z; eps is never that of a clipped x0.

    diffusers leads each step to t - steps // count of a table, which is not the next time of its own grid where count
    does not divide the table or the spacing is linspace. one: whether "before the first entry" is clean data
    (set_alpha_to_one), or the first entry again.
    """

    one: bool = True

    def ends(self, path: Path, i: int, known: int) -> tuple[Level, Level]:
        """To where the stride leads."""
        now = path.levels[i]
        stride = len(path.entries) // path.steps
        return now, below(path.entries, int(float(now.time)) - stride, self.one)

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look; one move for each of x0 and eps."""
        now, to = self.ends(path, i, known)
        a, s, a2, s2 = map(float, (now.alpha, now.sigma, to.alpha, to.sigma))
        fresh = 0.0
        if self.eta > 0.0:
            fresh = self.eta * math.sqrt(max(s2**2 / s**2 * (1.0 - a**2 / a2**2), 0.0))
        of_eps = math.sqrt(max(s2**2 - fresh**2, 0.0))
        return Look(now), Move(0.0, (of_eps,), "unclipped_noise"), Move(1.0, (a2,), "x0", fresh)


def below(levels: tuple[Level, ...], time: int, one: bool) -> Level:
    """The entry at a time of the table; before the first, clean data or the first again."""
    if time >= 0:
        return levels[time]
    return Level(-1.0, 1.0, 0.0) if one else levels[0]


@dataclass(frozen=True)
class DDPMRule(Rule):
    """The posterior between neighbours of the grid. variance: fixed_small, fixed_large or learned_range."""

    stochastic = True
    variance: str = "fixed_small"

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move; no noise from time 0."""
        now, to = path.levels[i], path.levels[i + 1]
        assert path.abar is not None
        product = path.abar[int(float(now.time))]
        before = path.abar[int(float(to.time))] if to.sigma != 0.0 else torch.ones_like(product)
        kept = product / before
        beta, left = 1 - kept, (1 - before) / (1 - product)
        of_x, of_x0 = float(kept**0.5 * left), float(before**0.5 * beta / (1 - product))
        small, large = max(float(left * beta), 1e-20), float(beta)
        if now.time == 0.0:
            return Look(now), Move(of_x, (of_x0,), "x0")
        fresh = math.sqrt(large if self.variance == "fixed_large" else small)
        other = math.sqrt(large) if self.variance == "learned_range" else None
        return Look(now), Move(of_x, (of_x0,), "x0", fresh, other)


@dataclass(frozen=True)
class FlowEulerRule(Rule):
    """X + (t' - t) f."""

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move."""
        now, to = path.levels[i], path.levels[i + 1]
        return Look(now), Move(1.0, (float(to.sigma) - float(now.sigma),), "flow")


@dataclass(frozen=True)
class FlowHeunRule(Rule):
    """Heun's rule in the flow's time."""

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Two looks; one for the last step."""
        now, to = path.levels[i], path.levels[i + 1]
        h = float(to.sigma) - float(now.sigma)
        if to.sigma == 0.0:
            return Look(now), Move(1.0, (h,), "flow")
        first = Move(1.0, (h,), "flow", settles=False)
        return Look(now), first, Look(to), Move(1.0, (h / 2, h / 2), "flow")
