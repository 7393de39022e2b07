"""Where another program's run goes: its levels, in its own precision."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.process import EDM, Flow, Level, NoiseSchedule, Scalar
from unnoise.schedulers.grids import (
    BetaSigma,
    DropPenultimate,
    Exponential,
    Grid,
    Karras,
    KLOptimal,
    Polyexponential,
)
from unnoise.schedulers.moves import Move, Unknown

Process = Literal["vp", "ve", "flow"]


@dataclass(frozen=True)
class Path:
    """The levels of a run as a program holds them.

    w, alpha, sigma: (steps + 1,) in the program's precision; w is sigma / alpha and the last may be 0. levels: the
    same as host numbers. time_at: what the program tells the network at a ratio between the levels, where its rules
    look there. entries: the whole table, cleanest first, for programs that step to other entries than the path's;
    abar: its alpha^2. pure: whether the program begins with noise alone.
    """

    levels: tuple[Level, ...]
    w: Tensor
    alpha: Tensor
    sigma: Tensor
    kind: Process = "vp"
    time_at: Callable[[float], float] | None = None
    entries: tuple[Level, ...] = ()
    abar: Tensor | None = None
    pure: bool = False

    @property
    def steps(self) -> int:
        """How many steps lead along the path."""
        return len(self.levels) - 1

    @property
    def ends_clean(self) -> bool:
        """Whether the last level is without noise."""
        return float(self.levels[-1].sigma) == 0.0

    @property
    def lam(self) -> Tensor:
        """ln(alpha / sigma), inf at the clean end."""
        return self.alpha.log() - self.sigma.log()

    def level(self, ratio: float) -> Level:
        """A level between the steps, with the program's time."""
        if not math.isfinite(ratio):
            raise _no_signal()
        assert self.time_at is not None
        alpha = {"vp": 1.0 / math.hypot(1.0, ratio), "ve": 1.0, "flow": 1.0 / (1.0 + ratio)}[self.kind]
        return Level(self.time_at(ratio), alpha, alpha * ratio)

    def move(
        self,
        now: Level,
        to: Level,
        factors: Sequence[Scalar],
        unknown: Unknown,
        noise: Scalar = 0.0,
        settles: bool = True,
        keep: Scalar = 1.0,
    ) -> Move:
        """A move whose numbers are those of u = x / alpha, in which k-diffusion and others compute."""
        if float(now.alpha) == 0.0:
            raise _no_signal()
        alpha = float(to.alpha)
        scaled = tuple(alpha * float(factor) for factor in factors)
        return Move(
            float(keep) * alpha / float(now.alpha), scaled, unknown, alpha * float(noise), settles=settles
        )


def _no_signal() -> InputError:
    return InputError(
        "compat values are computed in sigma / alpha, which is infinite where this model's schedule begins; "
        "leave compat out, or use a schedule with some signal at its end."
    )


class Rungs(abc.ABC):
    """A program's rule for its levels. Subclasses are frozen dataclasses."""

    @abc.abstractmethod
    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """The path of `steps` steps. Raises InputError where the program has none on such a schedule."""


@dataclass(frozen=True)
class FromGrid(Rungs):
    """Levels of one of our grids in float64, then the clean sample: k-diffusion's users make their own lists.

    to_first: whether the last level is the cleanest that was trained on (A1111's DDIM), not the clean sample. pure:
    whether the sample begins as noise times sigma, with no share for the data. on_edm: another grid for EDM. rest: a
    ratio that is left at the end and taken for none (ComfyUI's UniPC).
    """

    grid: Grid
    to_first: bool = False
    pure: bool = False
    on_edm: Grid | None = None
    rest: float = 0.0

    def path(self, schedule: NoiseSchedule, steps: int) -> Path:
        """The grid's levels and the last."""
        grid = self.on_edm if self.on_edm is not None and isinstance(schedule, EDM) else self.grid
        inner = _whole(grid, schedule).levels(schedule, steps)
        end = schedule.cleanest if self.to_first else schedule.level(schedule.clean_time)
        levels = (*inner, Level(end.time, end.alpha, self.rest) if self.rest else end)

        def time_of(level: Level) -> float:
            return float(level.sigma if isinstance(schedule, Flow) else level.time)  # see `preset.Told`

        told = [replace(level, time=time_of(level)) for level in levels]
        path = of_levels(told, torch.float64, process(schedule))
        return replace(path, pure=self.pure, time_at=lambda ratio: time_of(schedule.at_ratio(ratio)))


def _whole(grid: Grid, schedule: NoiseSchedule) -> Grid:
    """The grid from the schedule's own end, as programs go, also where ours begins at 80 (`grids.base.ratio_ends`)."""
    if isinstance(grid, DropPenultimate):
        return replace(grid, grid=_whole(grid.grid, schedule))
    high = float(schedule.noisiest.ratio)
    if isinstance(grid, Karras | Exponential | Polyexponential | KLOptimal | BetaSigma) and high < math.inf:
        return replace(grid, sigma_max=grid.sigma_max or high)
    return grid


def of_levels(levels: Sequence[Level], dtype: torch.dtype, kind: Process) -> Path:
    """The path along levels that are host numbers already."""
    alpha = torch.tensor([float(level.alpha) for level in levels], dtype=dtype)
    sigma = torch.tensor([float(level.sigma) for level in levels], dtype=dtype)
    return Path(tuple(levels), sigma / alpha, alpha, sigma, kind)


def process(schedule: NoiseSchedule) -> Process:
    """At which scaling x_t holds signal and noise."""
    if isinstance(schedule, Flow):
        return "flow"
    return "ve" if isinstance(schedule, EDM) else "vp"
