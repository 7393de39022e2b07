"""Grids made from a grid: shifted, stretched, rounded, cut, reversed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.limits import Between, Count, Finite, Positive, Steps
from unnoise.process import DiscreteVP, Level, NoiseSchedule
from unnoise.schedulers.grids.base import Grid, at_ratios

_FEW, _MANY = (8.73809524e-05, 1.89833333), (0.00016927, 0.45666666)  # slope and height at 10 and 200 steps
_LARGE = 4300  # tokens from which the line of 200 steps holds for any number


@dataclass(frozen=True)
class Shift(Grid):
    """Every ratio multiplied by `factor`: on a flow schedule the timestep shift (Esser et al. 2024, eq. 23)."""

    grid: Grid
    factor: Positive

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The inner grid's levels, moved."""
        inner = self.grid.levels(schedule, count)
        return at_ratios(schedule, [float(level.ratio) * self.factor for level in inner])


@dataclass(frozen=True)
class Slice(Grid):
    """The last levels of a grid of `total`: where a picture that is partly noise already is entered."""

    grid: Grid
    total: Steps

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The last `count` of `total` levels, or of as many as the inner grid makes of them."""
        if not 1 <= count <= self.total:
            raise InputError(f"{count} steps cannot be the last of {self.total}; give total >= {count}.")
        return self.grid.levels(schedule, self.total)[-count:]


@dataclass(frozen=True)
class Reverse(Grid):
    """The inner grid backwards, from little noise to much: a picture is led back into its noise."""

    grid: Grid

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The inner levels, cleanest first."""
        return tuple(reversed(self.grid.levels(schedule, count)))


@dataclass(frozen=True)
class ResolutionShift(Grid):
    """The shift of a flow model that grows with the picture (Flux; Esser et al. 2024, sec. 5.3.2).

    Every ratio is multiplied by e^mu, mu linear in the number of tokens: `base` at `base_tokens`, `top` at
    `top_tokens`. tokens: of the picture, for Flux width x height / 256.
    """

    grid: Grid
    tokens: Count
    base_tokens: int = 256
    top_tokens: int = 4096
    base: Finite = 0.5
    top: Finite = 1.15

    @property
    def mu(self) -> float:
        """The logarithm of the factor."""
        share = (self.tokens - self.base_tokens) / (self.top_tokens - self.base_tokens)
        return self.base + (self.top - self.base) * share

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The inner grid's levels, moved."""
        if self.base_tokens >= self.top_tokens:
            raise InputError(
                f"base_tokens is {self.base_tokens}, top_tokens {self.top_tokens}; give base < top."
            )
        return Shift(self.grid, math.exp(self.mu)).levels(schedule, count)


@dataclass(frozen=True)
class Flux2Shift(Grid):
    """Flux 2's shift: ratios times e^mu, mu fitted to the number of tokens and of steps (Black Forest Labs 2025).

    mu lies on a line in the tokens for 10 steps and on another for 200; between and beyond, on the line through the
    two in the steps. tokens: of the picture, width x height / 256.
    """

    grid: Grid
    tokens: Count

    def mu(self, count: int) -> float:
        """The logarithm of the factor for so many steps."""
        few, many = (slope * self.tokens + height for slope, height in (_FEW, _MANY))
        return many if self.tokens > _LARGE else many + (few - many) * (200 - count) / 190.0

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The inner grid's levels, moved."""
        return Shift(self.grid, math.exp(self.mu(count))).levels(schedule, count)


@dataclass(frozen=True)
class StretchToTerminal(Grid):
    """The inner grid stretched so that its last level has flow time `terminal` (LTX-Video).

    In flow time t = sigma / (alpha + sigma): 1 - t is scaled by (1 - terminal) / (1 - t_last).
    """

    grid: Grid
    terminal: Between = 0.1

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The inner levels, stretched; one alone stays where it is."""
        inner = self.grid.levels(schedule, count)
        gone = [float(level.alpha) / (float(level.alpha) + float(level.sigma)) for level in inner]
        if count == 1 or gone[-1] == 0.0:
            return inner
        scale = (1.0 - self.terminal) / gone[-1]
        ratios = [(1.0 - part * scale) / (part * scale) if part else math.inf for part in gone]
        return at_ratios(schedule, ratios)


@dataclass(frozen=True)
class Rounded(Grid):
    """The inner grid's times rounded to whole ones, for networks that know no others; repeated levels are left out.

    Halves go to the even neighbour. On a formula nothing is whole and the grid is left alone.
    """

    grid: Grid

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """At most `count` levels."""
        inner = self.grid.levels(schedule, count)
        if not isinstance(schedule, DiscreteVP):
            return inner
        times = dict.fromkeys(float(round(float(level.time))) for level in inner)
        return tuple(schedule.level(time) for time in times)


@dataclass(frozen=True)
class DropPenultimate(Grid):
    """The inner grid for one step more, without its last level: the jump to clean data starts higher.

    k-diffusion's front ends use it with DPM2 and the third-order SDE solver ("discard penultimate sigma").
    """

    grid: Grid

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The first `count` of `count` + 1 levels."""
        return self.grid.levels(schedule, count + 1)[:-1]
