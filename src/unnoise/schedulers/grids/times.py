"""Grids placed in time: equal steps of the schedule's own clock (`Timeline`), and bent ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.limits import Finite, Positive, ShareAbove, Steps
from unnoise.process import DiscreteVP, Level, NoiseSchedule
from unnoise.schedulers.grids.base import Grid, Timeline, between
from unnoise.schedulers.grids.beta import beta_quantile


@dataclass(frozen=True)
class Trailing(Grid):
    """Equal times counted down from the noisiest level (Lin et al. 2024, tab. 2)."""

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """Times end - i (end - clean) / count, i = 0 .. count - 1."""
        line = Timeline.of(schedule)
        return line.levels([line.high - i * (line.high - line.clean) / count for i in range(count)])


@dataclass(frozen=True)
class Leading(Grid):
    """Equal times counted up from the cleanest level, so that the noisiest is not reached (Song et al. 2021a).

    offset: added to every time; Stable Diffusion uses 1. On a table the stride is a whole number; on a formula an
    offset of 1 is a thousandth of the whole.
    """

    offset: Finite = 0.0

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """Times cleanest + offset + i stride, i = count - 1 .. 0."""
        line = Timeline.of(schedule)
        stride, offset = (line.high - line.clean) / count, self.offset * (line.high - line.clean) / 1000.0
        if isinstance(schedule, DiscreteVP):
            stride, offset = max(1.0, math.floor(stride)), self.offset
        return line.levels([line.low + offset + i * stride for i in reversed(range(count))])


@dataclass(frozen=True)
class Linspace(Grid):
    """Equal times from the noisiest to the cleanest level, both visited (Nichol & Dhariwal 2021)."""

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` equally spaced times, ends included; the noisiest alone for one step."""
        line = Timeline.of(schedule)
        return line.levels([between(line.high, line.low, i, count) for i in range(count)])


@dataclass(frozen=True)
class SGMUniform(Grid):
    """Equal times from the noisiest level, one short of the cleanest (Stability's generative-models, ComfyUI)."""

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The first `count` of `count` + 1 equally spaced times."""
        line = Timeline.of(schedule)
        return line.levels([line.high + (line.low - line.high) * i / count for i in range(count)])


@dataclass(frozen=True)
class Simple(Grid):
    """Every (steps / count)-th entry of a table, counted from the noisiest (ComfyUI); Trailing on a formula.

    Time = last - floor(i steps / count).
    """

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` whole times."""
        if not isinstance(schedule, DiscreteVP):
            return Trailing().levels(schedule, count)
        last = schedule.steps - 1
        places = [float(last - int(i * schedule.steps / count)) for i in range(count)]
        return Timeline.of(schedule).levels(places)


@dataclass(frozen=True)
class DDIMUniform(Grid):
    """Times 1 + k floor(steps / count), counted up from the cleanest (latent-diffusion's DDIM, ComfyUI).

    overflow: whether to take every k that the table has room for, as ComfyUI does: 31 levels for 30. By default
    as many as asked.
    """

    overflow: bool = False

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels, or one and more beyond with `overflow`."""
        steps = schedule.steps if isinstance(schedule, DiscreteVP) else 1000
        stride = max(steps // count, 1)
        number = len(range(1, steps, stride)) if self.overflow else count
        first = 1 if 1 + (number - 1) * stride < steps else 0
        indices = [first + k * stride for k in reversed(range(number))]
        line = Timeline.of(schedule)
        return line.levels([line.clean + (line.high - line.clean) * (i + 1) / steps for i in indices])


@dataclass(frozen=True)
class Quadratic(Grid):
    """Times that grow with the square, dense near the clean end (Song et al. 2021a, app. D.2).

    share: how much of the time is covered; the first level is there, 0.8 in the paper.
    """

    share: ShareAbove = 0.8

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """Times cleanest + share span (i / (count - 1))^2."""
        line = Timeline.of(schedule)
        reach = self.share * (line.high - line.low)
        return line.levels([line.low + reach * between(1.0, 0.0, i, count) ** 2 for i in range(count)])


@dataclass(frozen=True)
class BetaTime(Grid):
    """Times at equal probabilities of a beta distribution, dense at both ends (Lee et al. 2024; ComfyUI's "beta").

    Time = cleanest + span F^-1(1 - i / count), F the distribution function of Beta(alpha, beta). Another grid has
    the same name in diffusers: `BetaSigma`.
    """

    alpha: Positive = 0.6
    beta: Positive = 0.6

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels from the noisiest, not reaching the cleanest."""
        line = Timeline.of(schedule)
        shares = [beta_quantile(1.0 - i / count, self.alpha, self.beta) for i in range(count)]
        return line.levels([line.low + (line.high - line.low) * share for share in shares])


@dataclass(frozen=True)
class Smoothstep(Grid):
    """Times u^2 (3 - 2u) of the whole, u = 1 - i / count, dense at both ends (stable-diffusion.cpp)."""

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels from the noisiest."""
        line = Timeline.of(schedule)
        shares = [1.0 - i / count for i in range(count)]
        return line.levels([line.low + (line.high - line.low) * u * u * (3.0 - 2.0 * u) for u in shares])


@dataclass(frozen=True)
class Distilled(Grid):
    """Of the `original` times at which a model was distilled, every so many (Luo et al. 2023; LCM, TCD).

    Those are k steps / original - 1 of a table, k = 1 .. original; of them the floor(i original / count)-th from the
    noisiest are taken.
    """

    original: Steps = 50

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels. Raises InputError for more than there are."""
        if not 1 <= count <= self.original:
            raise InputError(
                f"{count} steps are asked of a model distilled at {self.original}; give at most that."
            )
        line = Timeline.of(schedule)
        stride = (line.high - line.clean) / self.original
        if isinstance(schedule, DiscreteVP):
            stride = float(max(1, schedule.steps // self.original))
        places = [self.original - i * self.original // count for i in range(count)]
        return line.levels([line.clean + place * stride for place in places])
