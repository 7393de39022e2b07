"""diffusers' classes for distilled models: LCM, TCD, the two of consistency models, and flows that are renoised."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unnoise.process import Level
from unnoise.schedulers.moves import Look, Move, Moves
from unnoise.schedulers.presets.path import Path
from unnoise.schedulers.presets.preset import Rule


@dataclass(frozen=True)
class LCMRule(Rule):
    """x0 with the boundary scalings of consistency models, noised anew to the next level.

    scaling: their factor of time; sigma_data is 1/2.
    """

    stochastic = True
    scaling: float = 10.0

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move; no noise at the end."""
        now, to = path.levels[i], path.levels[i + 1]
        scaled = float(now.time) * self.scaling
        skip, out = 0.25 / (scaled**2 + 0.25), scaled / math.sqrt(scaled**2 + 0.25)
        a, s = float(to.alpha), float(to.sigma)
        return Look(now), Move(a * skip, (a * out,), "x0", s)


@dataclass(frozen=True)
class TCDRule(Rule):
    """A DDIM step beyond the next level, to (1 - gamma) of its time, and noise back up to it."""

    gamma: float = 0.3

    @property
    def stochastic(self) -> bool:
        """Where gamma is positive."""
        return self.gamma > 0.0

    def ends(self, path: Path, i: int, known: int) -> tuple[Level, Level]:
        """The last step ends at the table's first entry."""
        return path.levels[i], path.entries[0] if i == path.steps - 1 else path.levels[i + 1]

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move."""
        now, to = self.ends(path, i, known)
        deep = path.entries[int((1.0 - self.gamma) * float(to.time))]
        a, s = float(now.alpha), float(now.sigma)
        up, fresh = 1.0, 0.0
        if self.gamma > 0.0 and i < path.steps - 1:
            up = float(to.alpha) / float(deep.alpha)
            fresh = math.sqrt(max(1.0 - up**2, 0.0))
        ad, sd = float(deep.alpha) * up, float(deep.sigma) * up
        return Look(now), Move(sd / s, (ad - sd * a / s,), "x0", fresh)


@dataclass(frozen=True)
class ConsistencyRule(Rule):
    """x0 noised anew to the next level: SCM, FlowMatchEuler if asked for, and with `least` CMStochasticIterative.

    least: the ratio at which a consistency model's x0 stands, whose noise the sample holds already. scale: of the
    noise.
    """

    stochastic = True
    least: float = 0.0
    scale: float = 1.0

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move; no noise at the end."""
        to = path.levels[i + 1]
        fresh = float((path.sigma[i + 1] ** 2 - self.least**2).clamp(min=0.0) ** 0.5)
        return Look(path.levels[i]), Move(0.0, (float(to.alpha),), "x0", self.scale * fresh)
