"""diffusers' classes that step on the table of products: DDPM, DDIM, PNDM (PLMS), LCM, TCD."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from unnoise.process import Level
from unnoise.schedulers.moves import Look, Move, PlannedStep
from unnoise.schedulers.presets.path import Path, number
from unnoise.schedulers.presets.preset import Rule
from unnoise.schedulers.presets.sigma_rules import Moves


@dataclass(frozen=True)
class DDIMRule(Rule):
    """x' = sqrt(abar') x0 + sqrt(1 - abar' - fresh^2) eps + fresh z.

    strides: diffusers leads each step to t - steps // count of a table, which is not the next time of its own
    grid where count does not divide the table or the spacing is linspace; (k-th level below) by `below`.
    one: whether "before the first entry" is clean data (set_alpha_to_one), or the first entry again.
    """

    eta: float = 0.0
    one: bool = True

    @property
    def stochastic(self) -> bool:
        """Where eta is positive."""
        return self.eta > 0.0

    def step(self, path: Path, i: int, known: int) -> PlannedStep:
        """To the level that the stride leads to."""
        now = path.levels[i]
        stride = len(path.entries) // path.steps
        to = below(path.entries, int(number(now.time)) - stride, self.one)
        a, s, a2, s2 = map(number, (now.alpha, now.sigma, to.alpha, to.sigma))
        fresh = 0.0
        if self.eta > 0.0:
            fresh = self.eta * math.sqrt(max(s2**2 / s**2 * (1.0 - a**2 / a2**2), 0.0))
        of_eps = math.sqrt(max(s2**2 - fresh**2, 0.0))
        move = Move(of_eps / s, (a2 - of_eps * a / s,), "x0", fresh)
        return PlannedStep(now, to, (Look(now), move))

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Those of `step`."""
        return self.step(path, i, known).moves


def below(levels: tuple[Level, ...], time: int, one: bool) -> Level:
    """The entry at a time of the table; before the first, clean data or the first again."""
    if time >= 0:
        return levels[time]
    return Level(-1.0, 1.0, 0.0) if one else levels[0]


@dataclass(frozen=True)
class DDPMRule(Rule):
    """The posterior between neighbours of the grid. variance: fixed_small, fixed_large or learned_range."""

    variance: str = "fixed_small"

    @property
    def stochastic(self) -> bool:
        """Always."""
        return True

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move; no noise from time 0."""
        now, to = path.levels[i], path.levels[i + 1]
        assert path.abar is not None
        product = path.abar[int(number(now.time))]
        before = path.abar[int(number(to.time))] if to.sigma != 0.0 else torch.ones(())
        kept = product / before
        beta, left = 1 - kept, (1 - before) / (1 - product)
        of_x, of_x0 = number(kept**0.5 * left), number(before**0.5 * beta / (1 - product))
        small, large = max(number(left * beta), 1e-20), number(beta)
        if now.time == 0.0:
            return Look(now), Move(of_x, (of_x0,), "x0")
        if self.variance == "learned_range":
            return Look(now), Move(of_x, (of_x0,), "x0", math.sqrt(small), math.sqrt(large))
        variance = large if self.variance == "fixed_large" else small
        return Look(now), Move(of_x, (of_x0,), "x0", math.sqrt(variance))


@dataclass(frozen=True)
class PNDMRule(Rule):
    """PLMS: Adams-Bashforth weights of equal steps on the noise, after one step that is looked at twice.

    Every time leads to itself minus a fixed stride; so does the repeated second one.
    """

    one: bool = False

    def step(self, path: Path, i: int, known: int) -> PlannedStep:
        """Two looks for the first step, one for each other."""
        now = path.levels[i]
        stride = len(path.entries) // path.steps
        time = int(number(now.time))
        to = below(path.entries, time - stride, self.one)
        if known == 0 and path.steps - i > 1:
            second = path.levels[i + 1]
            first = _transfer(now, to, (1.0,), settles=False)
            anchor = path.entries[min(int(number(second.time)) + stride, len(path.entries) - 1)]
            last = _transfer(anchor, second, (0.5, 0.5))
            return PlannedStep(now, second, (Look(now), first, Look(second), last))
        factors = {0: (1.0,), 1: (1.5, 0.0, -0.5), 2: (23 / 12, -16 / 12, 0.0, 5 / 12)}.get(
            known, (55 / 24, -59 / 24, 37 / 24, 0.0, -9 / 24) if known == 3 else _FOURTH
        )
        return PlannedStep(now, to, (Look(now), _transfer(now, to, factors)))

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Those of `step`."""
        return self.step(path, i, known).moves


_FOURTH = (55 / 24, -59 / 24, 37 / 24, -9 / 24)


def _transfer(now: Level, to: Level, weights: tuple[float, ...], settles: bool = True) -> Move:
    """The DDIM step by a weighted noise (Liu et al. 2022, eq. 9)."""
    one, two = (torch.tensor(number(level.alpha), dtype=torch.float64) for level in (now, to))
    product, after = ((alpha**2).float() for alpha in (one, two))
    share = product * (1 - after) ** 0.5 + (product * (1 - product) * after) ** 0.5
    of_noise = number(-(after - product) / share)
    return Move(
        number((after / product) ** 0.5),
        tuple(of_noise * weight for weight in weights),
        "noise",
        settles=settles,
    )


@dataclass(frozen=True)
class LCMRule(Rule):
    """x0 with the boundary scalings of consistency models, noised anew to the next level.

    scaling, data: the scalings' factor of time, and sigma_data.
    """

    scaling: float = 10.0
    data: float = 0.5

    @property
    def stochastic(self) -> bool:
        """Always."""
        return True

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move; no noise at the end."""
        now, to = path.levels[i], path.levels[i + 1]
        scaled = number(now.time) * self.scaling
        skip = self.data**2 / (scaled**2 + self.data**2)
        out = scaled / math.sqrt(scaled**2 + self.data**2)
        a, s = number(to.alpha), number(to.sigma)
        return Look(now), Move(a * skip, (a * out,), "x0", s)


@dataclass(frozen=True)
class TCDRule(Rule):
    """A DDIM step beyond the next level, to (1 - gamma) of its time, and noise back up to it."""

    gamma: float = 0.3

    @property
    def stochastic(self) -> bool:
        """Where gamma is positive."""
        return self.gamma > 0.0

    def step(self, path: Path, i: int, known: int) -> PlannedStep:
        """One look, one move; the last ends at the table's first entry."""
        now, last = path.levels[i], i == path.steps - 1
        to = path.entries[0] if last else path.levels[i + 1]
        deep = path.entries[int((1.0 - self.gamma) * number(to.time))]
        a, s = number(now.alpha), number(now.sigma)
        up, fresh = 1.0, 0.0
        if self.gamma > 0.0 and not last:
            up = number(to.alpha) / number(deep.alpha)
            fresh = math.sqrt(max(1.0 - up**2, 0.0))
        ad, sd = number(deep.alpha) * up, number(deep.sigma) * up
        move = Move(sd / s, (ad - sd * a / s,), "x0", fresh)
        return PlannedStep(now, to, (Look(now), move))

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Those of `step`."""
        return self.step(path, i, known).moves


@dataclass(frozen=True)
class FlowEulerRule(Rule):
    """X + (t' - t) f; with `renoise` (stochastic_sampling), x0 noised anew, right for distilled models only."""

    renoise: bool = False

    @property
    def stochastic(self) -> bool:
        """With `renoise`."""
        return self.renoise

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move."""
        now, to = path.levels[i], path.levels[i + 1]
        if self.renoise:
            return Look(now), Move(0.0, (number(to.alpha),), "x0", number(to.sigma))
        return Look(now), Move(1.0, (number(to.sigma) - number(now.sigma),), "flow")


@dataclass(frozen=True)
class FlowHeunRule(Rule):
    """Heun's rule in the flow's time."""

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Two looks; one for the last step."""
        now, to = path.levels[i], path.levels[i + 1]
        h = number(to.sigma) - number(now.sigma)
        if to.sigma == 0.0:
            return Look(now), Move(1.0, (h,), "flow")
        first = Move(1.0, (h,), "flow", settles=False)
        return Look(now), first, Look(to), Move(1.0, (h / 2, h / 2), "flow")
