"""Which noise level each sample of a batch is trained at: keyed, and spread evenly when asked.

A law is its quantile function: a fraction u in (0, 1) goes in, a level comes out. Only where u comes from
differs between plain and stratified draws. The importance law bends u first, by what it has learned.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unnoise import randomness
from unnoise.process import DiscreteVP, Level, NoiseSchedule
from unnoise.training.config import LossConfig
from unnoise.training.draws import Draws

_EDGE = 1e-9  # keeps the normal quantile finite
_FLOOR = 0.001  # of the uniform law, beside the learned one


def fractions(draws: Draws, batch: int, stratified: bool) -> Tensor:
    """One number in (0, 1) for each position of the global batch: float64, shape (positions,).

    Plain: independent, a function of (seed, step, position). Stratified: (u + position / batch) mod 1 with
    one keyed u a step, which is uniform for each sample and leaves no part of a batch empty (Kingma et al.
    2021, app. I.1).
    """
    if stratified:
        start = randomness.uniform(draws.seed, "time", draws.step)
        drawn = [(start + position / batch) % 1.0 for position in draws.positions]
    else:
        drawn = draws.uniform("time")
    return torch.tensor(drawn, dtype=torch.float64, device="cpu").clamp(_EDGE, 1.0 - _EDGE)


def levels(loss: LossConfig, schedule: NoiseSchedule, fraction: Tensor) -> Level:
    """The levels at these fractions of the law `loss.times`; a level for each of shape (batch,).

    "uniform", "importance": in the schedule's time; "logit_normal": time at sigmoid(mean + std z) between the
    schedule's ends (Esser et al. 2024, eq. 19), then shifted (their eq. 23); "log_normal": sigma / alpha =
    exp(mean + std z), held within the ends (Karras et al. 2022). A discrete schedule gives whole indices.
    """
    if loss.times == "log_normal":
        ratio = torch.exp(loss.mean + loss.std * torch.special.ndtri(fraction))
        ratio = ratio.clamp(float(schedule.cleanest.ratio), float(schedule.noisiest.ratio))
        level = schedule.at_ratio(ratio)
        if isinstance(schedule, DiscreteVP):
            return schedule.at_step(torch.as_tensor(level.time, device="cpu").round().clamp(min=0.0).long())
        return level
    if loss.times == "logit_normal":
        fraction = torch.sigmoid(loss.mean + loss.std * torch.special.ndtri(fraction))
    fraction = loss.shift * fraction / (1.0 + (loss.shift - 1.0) * fraction)
    if isinstance(schedule, DiscreteVP):
        return schedule.at_step((fraction * schedule.steps).long().clamp(max=schedule.steps - 1))
    low, high = float(schedule.cleanest.time), float(schedule.noisiest.time)
    return schedule.level((low + fraction * (high - low)).clamp(low, high))


class SecondMoments:
    """Importance sampling of times by the loss's second moment (Nichol & Dhariwal 2021, sec. 3.3).

    The span of fractions is cut into `bins`, each with its last ten losses. A bin is drawn with probability
    p proportional to sqrt(mean(loss^2)), mixed with a thousandth of the uniform law, and its loss is divided by
    bins * p, which leaves the expected gradient as it was. Until every bin has ten losses the law is uniform.

    What it knows is `losses` (bins, 10) and `counts` (bins,), tensors that a checkpoint holds.
    """

    def __init__(self, bins: int = 50) -> None:
        self.losses = torch.zeros(bins, 10, dtype=torch.float64, device="cpu")
        self.counts = torch.zeros(bins, dtype=torch.int64, device="cpu")

    def probabilities(self) -> Tensor:
        """One a bin, float64, summing to 1."""
        bins, kept = self.losses.shape
        root = self.losses.square().mean(1).sqrt()
        if bool((self.counts < kept).any()) or float(root.sum()) == 0.0:
            return torch.full((bins,), 1.0 / bins, dtype=torch.float64, device="cpu")
        return (1.0 - _FLOOR) * root / root.sum() + _FLOOR / bins

    def bend(self, fraction: Tensor) -> tuple[Tensor, Tensor]:
        """The fraction at the same quantile of the learned law, and 1 / (bins p) there: both float64 (batch,)."""
        p = self.probabilities()
        ends = p.cumsum(0)
        place = torch.searchsorted(ends, fraction, right=True).clamp(max=len(p) - 1)
        inside = ((fraction - (ends - p)[place]) / p[place]).clamp(0.0, 1.0 - _EDGE)
        return (place + inside) / len(p), 1.0 / (len(p) * p[place])

    def learn(self, fraction: Tensor, losses: Tensor) -> None:
        """Remember the losses, unweighted by `bend`, of samples that trained at these bent fractions.

        A sample of weight 0 has no such loss, but nan, and is passed over.
        """
        bins, kept = self.losses.shape
        for place, loss in zip((fraction * bins).long().tolist(), losses.tolist(), strict=True):
            if math.isnan(loss):
                continue
            self.losses[place, int(self.counts[place]) % kept] = loss
            self.counts[place] += 1
