"""Which noise level each sample of a batch is trained at: keyed, and spread evenly when asked.

A law is its quantile function: a fraction u in (0, 1) goes in, a level comes out. Only where u comes from
differs between plain and stratified draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unnoise import randomness
from unnoise.process import DiscreteVP, Level, NoiseSchedule
from unnoise.training.config import LossConfig

_EDGE = 1e-9  # keeps the normal quantile finite


def fractions(seed: int, step: int, positions: Sequence[int], batch: int, stratified: bool) -> Tensor:
    """One number in (0, 1) for each position of the global batch: float64, shape (len(positions),).

    Plain: independent, a function of (seed, step, position). Stratified: (u + position / batch) mod 1 with
    one keyed u a step, which is uniform for each sample and leaves no part of a batch empty (Kingma et al.
    2021, app. I.1).
    """
    if stratified:
        start = randomness.uniform(seed, "time", step)
        drawn = [(start + position / batch) % 1.0 for position in positions]
    else:
        drawn = [randomness.uniform(seed, "time", step, position) for position in positions]
    return torch.tensor(drawn, dtype=torch.float64).clamp(_EDGE, 1.0 - _EDGE)


def levels(loss: LossConfig, schedule: NoiseSchedule, fraction: Tensor) -> Level:
    """The levels at these fractions of the law `loss.times`; a level for each of shape (batch,).

    "uniform": in the schedule's time; "logit_normal": time at sigmoid(mean + std z) between the schedule's
    ends (Esser et al. 2024, eq. 19); "log_normal": sigma / alpha = exp(mean + std z), held within the ends
    (Karras et al. 2022). A discrete schedule gives whole indices.
    """
    if loss.times == "log_normal":
        ratio = torch.exp(loss.mean + loss.std * torch.special.ndtri(fraction))
        ratio = ratio.clamp(float(schedule.cleanest.ratio), float(schedule.noisiest.ratio))
        level = schedule.at_ratio(ratio)
        return schedule.level(_whole(level.time)) if isinstance(schedule, DiscreteVP) else level
    if loss.times == "logit_normal":
        fraction = torch.sigmoid(loss.mean + loss.std * torch.special.ndtri(fraction))
    if isinstance(schedule, DiscreteVP):
        return schedule.level((fraction * schedule.steps).floor().clamp(max=schedule.steps - 1))
    low, high = float(schedule.cleanest.time), float(schedule.noisiest.time)
    return schedule.level((low + fraction * (high - low)).clamp(low, high))


def _whole(time: float | Tensor) -> Tensor:
    return torch.as_tensor(time).round().clamp(min=0.0)
