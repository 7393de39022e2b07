"""All or part of the way to the clean sample, then noise again: for networks distilled to jump.

Not rules of the reverse process: with an ordinary network the result does not tend to the data as steps grow.
"""

from __future__ import annotations

from dataclasses import dataclass

from unnoise.limits import Share
from unnoise.process import Level, NoiseSchedule
from unnoise.schedulers.noise.base import NoiseRule, Split, level_at


@dataclass(frozen=True)
class Renoise(NoiseRule):
    """x_to = alpha x_0 + sigma z: the predicted clean sample with all noise new.

    Multistep consistency sampling (Song et al. 2023, alg. 1), LCM (Luo et al. 2023), SCM's trigonometric flow
    (Lu & Song 2025), and "stochastic sampling" of flow models. For distilled networks only.
    """

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """The solver goes to no noise at all."""
        return Split(level_at(to, 0.0), float(to.sigma), exact=False)


@dataclass(frozen=True)
class TCD(NoiseRule):
    """Trajectory consistency distillation: down to time (1 - gamma) t, then up to t (Zheng et al. 2024, alg. 4).

    gamma: 0 draws nothing, 1 is Renoise. Times are the schedule's own, counted from its clean end.
    """

    gamma: Share = 0.3

    @property
    def stochastic(self) -> bool:
        """Where gamma is positive."""
        return self.gamma > 0.0

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """Down at the ratio of time s; fresh = alpha sqrt(to^2 - down^2) in ratios."""
        clean = schedule.clean_time
        below = schedule.level(clean + (1.0 - self.gamma) * (float(to.time) - clean))
        goal, down = float(to.ratio), min(float(below.ratio), float(to.ratio))
        fresh = float(to.alpha) * ((goal - down) * (goal + down)) ** 0.5
        return Split(level_at(to, down), fresh, exact=False)
