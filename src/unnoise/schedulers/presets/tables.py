"""diffusers' tables: betas, their products and sigmas in float32, and how times and sigmas are read off them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unnoise.errors import InputError
from unnoise.process import DiscreteVP, NoiseSchedule
from unnoise.process.discrete import ending_without_signal
from unnoise.schedulers.grids.beta import beta_quantile

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """abar: (steps,) float32, the signal's share of the variance, cleanest first."""

    abar: Tensor

    @property
    def steps(self) -> int:
        """How many entries."""
        return len(self.abar)

    @property
    def sigmas(self) -> NDArray[np.float32]:
        """sqrt((1 - abar) / abar), float32."""
        return (((1 - self.abar) / self.abar) ** 0.5).numpy()

    def at_times(self, times: Numbers) -> Numbers:
        """Sigmas at times, straight lines between the entries."""
        return np.interp(times, np.arange(self.steps), self.sigmas)

    def time_at(self, sigma: float) -> float:
        """The time of a sigma, straight lines between the logarithms; clipped to the table."""
        logs = np.log(self.sigmas)
        log_sigma = np.log(np.maximum(sigma, 1e-10))
        low = int(np.clip((log_sigma >= logs).cumsum().argmax(), 0, self.steps - 2))
        weight = np.clip((logs[low] - log_sigma) / (logs[low] - logs[low + 1]), 0, 1)
        return float((1 - weight) * low + weight * (low + 1))


@lru_cache(maxsize=64)
def table(schedule: NoiseSchedule, infinite: bool = False) -> Table:
    """The float32 table of a schedule.

    infinite: whether a last level without signal stays one (DDIM, DDPM), or gets abar 2^-24.
    Raises InputError unless the schedule is a table.
    """
    if not isinstance(schedule, DiscreteVP):
        raise InputError(
            "this preset needs a table of betas (DiscreteVP); for a flow or EDM model name the class: "
            "names.from_config({'_class_name': 'FlowMatchEulerDiscreteScheduler'}, compat='diffusers')."
        )
    if schedule.steps < 2:
        raise InputError(
            f"num_train_timesteps is {schedule.steps}; compat values need 2 levels or more to lie between. "
            "Leave compat out."
        )
    betas = _betas(schedule)
    if schedule.zero_terminal:
        betas = ending_without_signal(betas)
    abar = torch.cumprod(1.0 - betas, 0)
    if schedule.zero_terminal and not infinite:
        abar[-1] = 2**-24
    return Table(abar)


def _betas(schedule: DiscreteVP) -> Tensor:
    if schedule.curve != "cosine":
        return schedule.plain_betas(torch.float32)
    places = [i / schedule.steps for i in range(schedule.steps + 1)]
    signal = [math.cos((place + 0.008) / 1.008 * math.pi / 2) ** 2 for place in places]
    return torch.tensor([min(1 - b / a, 0.999) for a, b in pairwise(signal)], dtype=torch.float32)


def spaced(spacing: str, steps: int, count: int, offset: int, extra: bool) -> Numbers:
    """Times of the three spacings, noisiest first, before any rounding.

    extra: whether one more is laid out and the last left out (DPM-Solver's classes).
    """
    points = count + 1 if extra else count
    if spacing == "linspace":
        times = np.asarray(np.linspace(0, steps - 1, points)[::-1], np.float64)
    elif spacing == "leading":
        times = np.asarray(np.arange(points)[::-1] * float(steps // points) + offset, np.float64)
    else:
        times = np.asarray(np.round(np.arange(steps, 0, -steps / count)) - 1.0, np.float64)
    return times[:count]


def respaced(kind: str, high: float, low: float, count: int) -> Numbers:
    """Sigmas between two ends: "karras", "exponential", "lu" or "beta"."""
    ramp = np.linspace(0, 1, count)
    if kind == "karras":
        top, bottom = high ** (1 / 7.0), low ** (1 / 7.0)
        return np.asarray((top + ramp * (bottom - top)) ** 7.0, np.float64)
    if kind in ("exponential", "lu"):
        return np.asarray(np.exp(np.linspace(math.log(high), math.log(low), count)), np.float64)
    shares = [beta_quantile(float(share), 0.6, 0.6) for share in 1 - ramp]
    return np.array([low + share * (high - low) for share in shares])
