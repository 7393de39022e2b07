"""What a grid is, and the small helpers that every grid uses."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

from unnoise.errors import InputError
from unnoise.limits import Declared
from unnoise.process import EDM, DiscreteVP, Level, NoiseSchedule

LARGEST_RATIO = 80.0  # EDM's sigma_max: a picture in [-1, 1] is lost below it
LOST_RATIO = 1024.0  # the signal is less than half precision's last bit of the noise
_RHO = 7.0


class Grid(Declared, abc.ABC):
    """A way to place levels on a noise schedule. Subclasses are frozen dataclasses, checked when they are made."""

    example = "grids.Karras()"

    @property
    def count(self) -> int | None:
        """How many levels there are, where they are a list; None where any number can be asked for."""
        return None

    @abc.abstractmethod
    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels to visit, the noisiest first; the jump to clean data is the final rule's affair.

        Raises InputError where the schedule has no such levels.
        """


@dataclass(frozen=True)
class Timeline:
    """What a grid in time divides evenly: a schedule's time; on EDM, whose time is sigma, the 7th root of sigma.

    Equal steps of sigma from 80 down would spend all but one on noise alone; equal steps of its root are the grid
    that EDM's authors chose for it (Karras et al. 2022, eq. 5 with rho 7; docs/decisions/014).

    clean: where the noise-free level stands; on EDM the cleanest one, because below it the root goes on to levels
    that no network has seen. low, high: the cleanest and the noisiest level.
    """

    schedule: NoiseSchedule
    clean: float
    low: float
    high: float
    root: float = 1.0

    @classmethod
    def of(cls, schedule: NoiseSchedule) -> Timeline:
        """The schedule's own."""
        low, high = float(schedule.cleanest.time), float(schedule.noisiest.time)
        if isinstance(schedule, EDM):
            low, high = low ** (1.0 / _RHO), high ** (1.0 / _RHO)
            return cls(schedule, low, low, high, _RHO)
        return cls(schedule, schedule.clean_time, low, high)

    def place(self, level: Level) -> float:
        """Where a level stands."""
        return float(float(level.time) ** (1.0 / self.root))

    def levels(self, places: Sequence[float]) -> tuple[Level, ...]:
        """The levels at these places; none beyond the noisiest."""
        end = float(self.schedule.noisiest.time)
        return tuple(self.schedule.level(min(place**self.root, end)) for place in places)


def at_ratios(schedule: NoiseSchedule, ratios: Sequence[float]) -> tuple[Level, ...]:
    """The levels at these ratios sigma / alpha."""
    return tuple(schedule.at_ratio(float(ratio)) for ratio in ratios)


def clean_level(schedule: NoiseSchedule) -> Level:
    """The level without noise."""
    return schedule.level(schedule.clean_time)


def between(start: float, end: float, i: int, count: int) -> float:
    """Point i of `count` equal ones from `start` to `end`; the start alone for one."""
    return start if i == 0 else start + (end - start) * i / (count - 1)


def check_count(what: str, given: int, count: int) -> None:
    """Refuse a list of another length than the number of levels."""
    if given != count:
        raise InputError(f"the grid lists {given} {what} and {count} are needed; give as many as steps.")


def ratio_ends(schedule: NoiseSchedule, low: float | None, high: float | None) -> tuple[float, float]:
    """Smallest and largest ratio: as given, or the schedule's own, the largest 80 where the signal is lost at its end.

    The last beta of the cosine table, cut to 0.999, leaves a ratio of 20,291 that nobody chose: half of Karras's levels
    would lie above 80, where all are noise alone (docs/decisions/014). An end that was given as a number stays.
    """
    own_high = float(schedule.noisiest.ratio)
    if own_high == math.inf or (own_high > LOST_RATIO and isinstance(schedule, DiscreteVP)):
        own_high = LARGEST_RATIO
    low = float(schedule.cleanest.ratio) if low is None else low
    high = own_high if high is None else high
    if not 0.0 < low < high < math.inf:
        raise InputError(f"sigma runs from {low:g} to {high:g}; give 0 < sigma_min < sigma_max.")
    return low, high
