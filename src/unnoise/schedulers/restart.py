"""Grids that go up again: stretches of the way made more than once, with noise added between."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.limits import Count, Positive
from unnoise.process import Level, NoiseSchedule
from unnoise.schedulers.grids import Grid


class Travel(Grid):
    """A grid that may rise: where it does, noise of the difference is added, which keeps the marginal exactly.

    `levels(schedule, count)` gives `count` levels that are looked at, and before each rise the level it sets out
    from, which is not: `count` plus the number of rises.
    """


@dataclass(frozen=True)
class Restart(Travel):
    """Once the lower ratio is reached, back up to the upper one and down again, several times (Xu et al. 2023).

    The noise added at each rise makes earlier errors of the solver contract; a deterministic solver between.

    grid: the main way. low, high: the stretch that is repeated, as ratios sigma / alpha; its levels are Karras's.
    steps: steps of each repetition. times: how often. By default A1111's choice: none below 20 steps, then 9
    steps once, and from 36 a quarter of the steps twice; none where the grid does not pass the stretch.
    """

    grid: Grid
    low: float = 0.1
    high: float = 2.0
    steps: Count | None = None
    times: Count = 1
    rho: Positive = 7.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.low < self.high < math.inf or (self.steps is None and self.times != 1):
            raise InputError(
                f"restart goes from {self.low} to {self.high} in {self.steps} steps {self.times} times; give "
                "0 < low < high, and steps and times, both or none."
            )

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The main levels to the first at or below `low`, the repetitions, and the rest."""
        steps, times = self._repetitions(count)
        way = self.grid.levels(schedule, count - steps * times)
        place = next((i for i, level in enumerate(way) if float(level.ratio) <= self.low), 0)
        if place == 0 or float(way[0].ratio) <= self.high:
            if self.steps is None:
                return self.grid.levels(schedule, count)
            raise InputError(
                f"the grid must pass {self.high:g} and reach {self.low:g} to restart there; it has "
                f"{float(way[0].ratio):g} to {float(way[-1].ratio):g}. Choose another stretch or more steps."
            )
        bottom = way[place]
        top, end = self.high ** (1 / self.rho), float(bottom.ratio) ** (1 / self.rho)
        again = [schedule.at_ratio((top + (end - top) * i / steps) ** self.rho) for i in range(steps)]
        return (*way[:place], *(bottom, *again) * times, *way[place:])

    def _repetitions(self, count: int) -> tuple[int, int]:
        """Steps of a repetition, and how many there are."""
        if self.steps is None:
            if count < 20:
                return 0, 0
            return (count // 4, 2) if count >= 36 else (9, 1)
        if count - self.steps * self.times < 2:
            raise InputError(
                f"{count} steps do not hold {self.times} restarts of {self.steps}; give at least "
                f"{self.steps * self.times + 2}."
            )
        return self.steps, self.times


@dataclass(frozen=True)
class TimeTravel(Travel):
    """After each `jump` steps, back up the same way and down again, `times` in all (RePaint; Lugmayr et al. 2022).

    For inpainting, where each passage fits the filled part better to the known one. grid: the way without jumps.
    """

    grid: Grid
    jump: Count = 10
    times: Count = 10

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The grid's levels with the repetitions. Raises InputError where no grid makes `count` looks of it."""
        again = self.jump * (self.times - 1)
        totals = {main: main + (main - 1) // self.jump * again for main in range(1, count + 1)}
        main = next((main for main, total in totals.items() if total == count), None)
        if main is None:
            below = max((total for total in totals.values() if total < count), default=1)
            above = min(total for total in totals.values() if total > count)
            raise InputError(
                f"time travel of {self.jump} steps {self.times} times makes {below} or {above} steps; give one of "
                f"these, not {count}."
            )
        way = self.grid.levels(schedule, main)
        out: list[Level] = []
        for first in range(0, main, self.jump):
            part, last = way[first : first + self.jump], first + self.jump
            out += [*part, *([way[last], *part] * (self.times - 1) if last < main else ())]
        return tuple(out)
