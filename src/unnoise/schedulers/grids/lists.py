"""Grids that are lists: explicit ones, and published tables stretched to any number of steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unnoise.errors import InputError
from unnoise.process import Level, NoiseSchedule
from unnoise.schedulers.grids.base import Grid, at_ratios, check_count
from unnoise.schedulers.grids.tables import ALIGN_YOUR_STEPS, GITS_LEVELS


@dataclass(frozen=True)
class Times(Grid):
    """An explicit list of the schedule's times, largest first."""

    times: tuple[float, ...]

    @property
    def count(self) -> int | None:
        """The list's length."""
        return len(self.times)

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The levels at the times given; `count` must be their number."""
        check_count("times", len(self.times), count)
        return tuple(schedule.level(float(time)) for time in self.times)


@dataclass(frozen=True)
class Ratios(Grid):
    """An explicit list of sigma / alpha ("sigmas"), largest first."""

    ratios: tuple[float, ...]

    @property
    def count(self) -> int | None:
        """The list's length."""
        return len(self.ratios)

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """The levels of the ratios given; `count` must be their number."""
        check_count("ratios", len(self.ratios), count)
        return at_ratios(schedule, self.ratios)


@dataclass(frozen=True)
class Stretched(Grid):
    """A list of ratios read off at any number of steps: straight lines between their logarithms.

    ends: whether the list's last ratio is a level to visit (A1111), or the place where the clean sample is put
    (ComfyUI, stable-diffusion.cpp, the paper's authors: its last value is replaced by 0).
    """

    ratios: tuple[float, ...]
    ends: bool = False

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels from the list's first ratio."""
        return at_ratios(schedule, stretch(self.ratios, count if self.ends else count + 1)[:count])


@dataclass(frozen=True)
class AlignYourSteps(Grid):
    """Levels optimised for a family of models (Sabour et al. 2024), stretched to any number.

    model: "sd15", "sdxl" or "svd". ends: as for Stretched.
    """

    model: Literal["sd15", "sdxl", "svd"] = "sd15"
    ends: bool = False

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels of the published ten-step list."""
        return Stretched(ALIGN_YOUR_STEPS[self.model], self.ends).levels(schedule, count)


@dataclass(frozen=True)
class GITS(Grid):
    """Levels found by dynamic programming along the sampling path of Stable Diffusion 1.5 (Chen et al. 2024).

    The published lists for 2 to 20 steps at coefficient 1.2; the last one is stretched to more.
    """

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels; the list's last ratio is where the clean sample is put."""
        ratios = GITS_LEVELS[min(max(count - 2, 0), len(GITS_LEVELS) - 1)]
        if len(ratios) != count + 1:
            ratios = tuple(stretch(ratios, count + 1))
        return at_ratios(schedule, ratios[:count])


def stretch(ratios: Sequence[float], count: int) -> list[float]:
    """`count` numbers along a decreasing list, linear in their logarithms; the ends stay exactly.

    Raises InputError unless there are two or more, all positive.
    """
    if len(ratios) < 2 or not all(0.0 < ratio < math.inf for ratio in ratios):
        raise InputError(
            f"a list of {len(ratios)} ratios from {max(ratios, default=0.0):g} to {min(ratios, default=0.0):g} cannot "
            "be stretched; give two or more positive ones, the clean end left out."
        )
    logs = [math.log(ratio) for ratio in ratios]
    values = []
    for i in range(count):
        place = i / (count - 1) * (len(logs) - 1) if count > 1 else 0.0
        left = min(int(place), len(logs) - 2)
        part = place - left
        whole = part in (0.0, 1.0)
        values.append(
            ratios[left + int(part)] if whole else math.exp(logs[left] + part * (logs[left + 1] - logs[left]))
        )
    return values
