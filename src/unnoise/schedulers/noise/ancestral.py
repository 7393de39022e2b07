"""Down to below the next level by the ODE, then up to it with noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from unnoise.limits import Share
from unnoise.process import Level, NoiseSchedule, transition
from unnoise.schedulers.noise.base import NoiseRule, OfStrength, Split, level_at, span_of


@dataclass(frozen=True)
class Ancestral(OfStrength):
    """A share of the posterior's noise, then the ODE to what is left (Song et al. 2021a, eq. 16; k-diffusion).

    eta: 0 draws nothing, 1 is DDPM's fixed small variance at first order.
    """

    eta: Share = 1.0

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """Fresh = eta sqrt(to^2 (now^2 - to^2) / now^2), down = sqrt(to^2 - fresh^2), as ratios."""
        ratio, alpha = float(to.ratio), float(to.alpha)
        fresh = self.eta * ratio * math.sqrt(lost(now, to))
        down = ratio * math.sqrt(1.0 - self.eta**2 * lost(now, to))
        span = span_of(now, to, self.eta**2)  # what the rule tends to in small steps
        return Split(level_at(to, down), alpha * fresh, exact=False, span=span)


@dataclass(frozen=True)
class FlowAncestral(OfStrength):
    """The same for rectified flow: the step in flow time t = sigma / (alpha + sigma) is lengthened by eta.

    t_down = t_to (1 + eta (t_to / t_now - 1)); eta 1 goes to t_to^2 / t_now. On other processes t is that of
    their ratio. Known from ComfyUI and LTX-Video as "RF ancestral".
    """

    eta: Share = 1.0

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """Fresh = alpha sqrt(to^2 - down^2) in ratios."""
        goal, begin = float(to.ratio), float(now.ratio)
        t_to = goal / (1.0 + goal)
        t_now = begin / (1.0 + begin) if begin < math.inf else 1.0
        t_down = t_to * (1.0 - self.eta * (1.0 - t_to / t_now))
        down = min(t_down / (1.0 - t_down), goal)
        fresh = float(to.alpha) * math.sqrt((goal - down) * (goal + down))
        return Split(level_at(to, down), fresh, exact=False, span=span_of(now, to, self.eta))


@dataclass(frozen=True)
class Posterior(NoiseRule):
    """DDPM: the Gaussian posterior's mean and one of its variances (Ho et al. 2020, sec. 3.2).

    variance: "fixed_small", "fixed_large", or "learned_range", which falls back on fixed_small where the network
    gives none.
    """

    variance: Literal["fixed_small", "fixed_large", "learned_range"] = "fixed_small"

    def split(self, now: Level, to: Level, schedule: NoiseSchedule) -> Split:
        """The ancestral split for the mean; the posterior's standard deviation for the noise."""
        down = float(to.ratio) * math.sqrt(1.0 - lost(now, to))
        numbers = transition(now, to)
        small, large = math.sqrt(float(numbers.small)), math.sqrt(float(numbers.large))
        fresh = large if self.variance == "fixed_large" else small
        other = large if self.variance == "learned_range" else None
        return Split(level_at(to, down), fresh, other, exact=False, span=span_of(now, to, 1.0))


def lost(now: Level, to: Level) -> float:
    """1 - (to / now)^2 of the ratios, from 0 to 1; 1 where `now` holds no signal."""
    return 1.0 - (float(to.ratio) / float(now.ratio)) ** 2
