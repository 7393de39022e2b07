"""Noise added before a step, which then has further to go."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.process import Level
from unnoise.schedulers.noise.base import NoiseRule


@dataclass(frozen=True)
class Churn(NoiseRule):
    """Noise before each step, inside a band of levels (Karras et al. 2022, alg. 2).

    amount: their S_churn, spread over the steps and capped at sqrt(2) - 1 each. low, high: S_tmin, S_tmax as ratios.
    scale: S_noise.
    """

    enters = "before"
    amount: float = 40.0
    low: float = 0.05
    high: float = 50.0
    scale: float = 1.003

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.amount >= 0.0 and self.scale > 0.0 and 0.0 <= self.low < self.high):
            raise InputError(
                f"churn has amount {self.amount}, scale {self.scale}, band {self.low} to {self.high}; give "
                "amount >= 0, scale > 0 and low < high."
            )

    @property
    def stochastic(self) -> bool:
        """Where the amount is positive."""
        return self.amount > 0.0

    def raised(self, now: Level, steps: int) -> float:
        """Ratio (1 + gamma) inside the band."""
        ratio = float(now.ratio)
        gamma = min(self.amount / steps, math.sqrt(2.0) - 1.0) if self.low <= ratio <= self.high else 0.0
        return ratio * (1.0 + gamma)
