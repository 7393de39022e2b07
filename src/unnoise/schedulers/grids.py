"""Grids: which noise levels a sampler visits. Steps in, strictly decreasing levels out."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.process import DiscreteVP, Level, NoiseSchedule

_LARGEST_RATIO = 80.0  # EDM's sigma_max: a picture in [-1, 1] is lost below it


class Grid(abc.ABC):
    """A way to place levels on a noise schedule. Subclasses are frozen dataclasses."""

    @abc.abstractmethod
    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels to visit, the noisiest first; the jump to clean data is the final rule's affair.

        Raises InputError where the schedule has no such levels.
        """


def _at_times(schedule: NoiseSchedule, times: Sequence[float]) -> tuple[Level, ...]:
    return tuple(schedule.level(min(time, float(schedule.noisiest.time))) for time in times)


def _at_ratios(schedule: NoiseSchedule, ratios: Sequence[float]) -> tuple[Level, ...]:
    return tuple(schedule.at_ratio(ratio) for ratio in ratios)


@dataclass(frozen=True)
class Trailing(Grid):
    """Equal times counted down from the noisiest level (Lin et al. 2024, tab. 2)."""

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """Times end - i (end - clean) / count, i = 0 .. count - 1."""
        end, clean = float(schedule.noisiest.time), schedule.clean_time
        return _at_times(schedule, [end - i * (end - clean) / count for i in range(count)])


@dataclass(frozen=True)
class Leading(Grid):
    """Equal times counted up from the cleanest level, so that the noisiest is not reached (Song et al. 2021a).

    offset: added to every time; Stable Diffusion uses 1. On a table the stride is a whole number.
    """

    offset: float = 0.0

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """Times cleanest + offset + i stride, i = count - 1 .. 0."""
        stride = (float(schedule.noisiest.time) - schedule.clean_time) / count
        if isinstance(schedule, DiscreteVP):
            stride = max(1.0, math.floor(stride))
        first = float(schedule.cleanest.time) + self.offset
        return _at_times(schedule, [first + i * stride for i in reversed(range(count))])


@dataclass(frozen=True)
class Linspace(Grid):
    """Equal times from the noisiest to the cleanest level, both visited (Nichol & Dhariwal 2021)."""

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` equally spaced times, ends included; the noisiest alone for one step."""
        high, low = float(schedule.noisiest.time), float(schedule.cleanest.time)
        return _at_times(schedule, [_between(high, low, i, count) for i in range(count)])


@dataclass(frozen=True)
class Karras(Grid):
    """Equal steps in ratio^(1 / rho), ratio = sigma / alpha (Karras et al. 2022, eq. 5).

    sigma_min, sigma_max: ends of the ratio; by default the schedule's own, and 80 where that begins without
    signal (an infinite ratio has no power).
    """

    rho: float = 7.0
    sigma_min: float | None = None
    sigma_max: float | None = None

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels, ends included."""
        if not self.rho > 0.0:
            raise InputError(f"rho is {self.rho}; give a positive number, usually 7.")
        low, high = _ratio_ends(schedule, self.sigma_min, self.sigma_max)
        start, end = high ** (1.0 / self.rho), low ** (1.0 / self.rho)
        return _at_ratios(schedule, [_between(start, end, i, count) ** self.rho for i in range(count)])


@dataclass(frozen=True)
class Exponential(Grid):
    """Equal steps in log-SNR; the ends as for Karras."""

    sigma_min: float | None = None
    sigma_max: float | None = None

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels, ends included."""
        low, high = _ratio_ends(schedule, self.sigma_min, self.sigma_max)
        return _at_ratios(
            schedule, [math.exp(_between(math.log(high), math.log(low), i, count)) for i in range(count)]
        )


@dataclass(frozen=True)
class Times(Grid):
    """An explicit list of the schedule's times, largest first."""

    times: tuple[float, ...]

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The levels at the times given; `count` must be their number."""
        _check_count("times", len(self.times), count)
        return tuple(schedule.level(float(time)) for time in self.times)


@dataclass(frozen=True)
class Ratios(Grid):
    """An explicit list of sigma / alpha ("sigmas"), largest first."""

    ratios: tuple[float, ...]

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The levels of the ratios given; `count` must be their number."""
        _check_count("ratios", len(self.ratios), count)
        return _at_ratios(schedule, self.ratios)


@dataclass(frozen=True)
class Shift(Grid):
    """Every ratio multiplied by `factor`: on a flow schedule the timestep shift (Esser et al. 2024, eq. 23)."""

    grid: Grid
    factor: float

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The inner grid's levels, moved."""
        if not (math.isfinite(self.factor) and self.factor > 0.0):
            raise InputError(f"shift is {self.factor}; give a positive number, for example 3.")
        inner = self.grid.levels(schedule, count)
        return _at_ratios(schedule, [float(level.ratio) * self.factor for level in inner])


@dataclass(frozen=True)
class Slice(Grid):
    """The last levels of a grid of `total`: where a picture that is partly noise already is entered."""

    grid: Grid
    total: int

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The last `count` of `total` levels."""
        if self.total < count:
            raise InputError(f"{count} steps cannot be the last of {self.total}; give total >= {count}.")
        return self.grid.levels(schedule, self.total)[self.total - count :]


@dataclass(frozen=True)
class AppendZero(Grid):
    """The inner grid, then the clean level: for a list that must hold its own end, with the final rule Stop."""

    grid: Grid

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` - 1 levels of the inner grid, and sigma 0."""
        if count < 2:
            raise InputError("a grid with zero appended needs at least 2 levels.")
        return (*self.grid.levels(schedule, count - 1), clean_level(schedule))


@dataclass(frozen=True)
class Reverse(Grid):
    """The inner grid backwards, from little noise to much: a picture is led back into its noise."""

    grid: Grid

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The inner levels, cleanest first."""
        return tuple(reversed(self.grid.levels(schedule, count)))


def clean_level(schedule: NoiseSchedule) -> Level:
    """The level without noise."""
    return schedule.level(schedule.clean_time)


def _between(start: float, end: float, i: int, count: int) -> float:
    return start if i == 0 else start + (end - start) * i / (count - 1)


def _check_count(what: str, given: int, count: int) -> None:
    if given != count:
        raise InputError(f"the grid lists {given} {what} and {count} are needed; give as many as steps.")


def _ratio_ends(schedule: NoiseSchedule, low: float | None, high: float | None) -> tuple[float, float]:
    noisiest = float(schedule.noisiest.ratio)
    own_high = noisiest if math.isfinite(noisiest) else _LARGEST_RATIO
    low = float(schedule.cleanest.ratio) if low is None else low
    high = own_high if high is None else high
    if not 0.0 < low < high < math.inf:
        raise InputError(f"sigma runs from {low:g} to {high:g}; give 0 < sigma_min < sigma_max.")
    return low, high
