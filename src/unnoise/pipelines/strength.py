"""Where a run is entered that begins from a picture: at a share of the steps, or at a level of noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from unnoise.errors import InputError
from unnoise.limits import counted, number, shown
from unnoise.pipelines.request import STEPS, Request
from unnoise.process import Level, NoiseSchedule
from unnoise.schedulers import Plan, Scheduler
from unnoise.schedulers.grids import Grid, Slice, Timeline
from unnoise.schedulers.presets.preset import Preset
from unnoise.schedulers.restart import Travel

STRENGTH = 0.75


@dataclass(frozen=True)
class From(Grid):
    """The inner grid drawn together so that it begins at the noise level `ratio`, towards the cleanest level.

    Places t on the schedule's `Timeline` become t_low + (t - t_low) (T - t_low) / (t_first - t_low), T that of the
    ratio and t_low that of the cleanest level: a grid that ends there still does.
    """

    grid: Grid
    ratio: float

    def levels(self, schedule: NoiseSchedule, count: int) -> tuple[Level, ...]:
        """`count` levels from the one with sigma / alpha = `ratio`. Raises InputError where that is not on the way."""
        inner = self.grid.levels(schedule, count)
        high, low = float(inner[0].ratio), float(schedule.cleanest.ratio) if count > 1 else 0.0
        if not low < self.ratio <= high:
            raise InputError(
                f"noise_level is {self.ratio:g}; {count} levels of this grid run from {high:.4g} to {low:.4g}. Give "
                "one between, or a strength."
            )
        start, line = schedule.at_ratio(self.ratio), Timeline.of(schedule)
        first, *others = (line.place(level) for level in inner)
        share = (line.place(start) - line.low) / (first - line.low)
        return (start, *line.levels([line.low + (place - line.low) * share for place in others]))


def entered(
    request: Request,
    schedule: NoiseSchedule,
    strength: float | None,
    noise_level: float | None,
    default: float = STRENGTH,
    second: bool = False,
) -> tuple[Plan, dict[str, float]]:
    """The plan that is left of a run, and what a recipe says of it.

    strength: share of the steps that is made, the last floor(steps strength) of them (one more with A1111's values);
    1 is the whole run. With ComfyUI's values, and in a second pass with A1111's, all the steps are made, the last of
    floor(steps / strength). noise_level: sigma / alpha at which all steps begin instead. default: the strength when
    neither is given. second: whether this is a second pass. Raises InputError for values out of range, and where no
    step would be left.
    """
    if noise_level is not None:
        if strength is not None:
            raise InputError(
                f"strength is {shown(strength)} and noise_level {shown(noise_level)}; give one of the two."
            )
        ratio = number("noise_level", noise_level, 0.0, math.inf, 2.0, "the sigma / alpha to begin at,")
        return _from_ratio(request, schedule, ratio), {"noise_level": ratio}
    share = (
        default if strength is None else number("strength", strength, 0.0, 1.0, 0.75, "a share of the steps")
    )
    steps = request.steps
    planned, kept = _share(request, share, second)
    if kept == 0:
        raise InputError(
            f"strength {share:g} of {counted(steps, 'step')} is less than one step, and nothing would "
            f"change. Give a strength of at least {math.ceil(1000 / steps) / 1000:g}"
            + (f", or at least {math.ceil(1 / share)} steps." if share * STEPS >= 1.0 else ".")
        )
    return _last(request, schedule, planned, kept), {"strength": share}


def _from_ratio(request: Request, schedule: NoiseSchedule, ratio: float) -> Plan:
    """All the steps, from the level of this sigma / alpha."""
    scheduler = request.scheduler
    if isinstance(scheduler, Preset):
        raise InputError(
            f"noise_level cannot be used with the values of {scheduler.program}; give a strength, or no compat."
        )
    return replace(scheduler, grid=From(_still(scheduler), ratio)).plan(schedule, request.steps)


def _last(request: Request, schedule: NoiseSchedule, planned: int, kept: int) -> Plan:
    """The last `kept` of the steps that are planned."""
    scheduler = request.scheduler
    if kept == planned:
        return scheduler.plan(schedule, planned)
    if isinstance(scheduler, Preset):
        # of steps that are more than was asked for ComfyUI counts from the end, A1111 from the beginning
        many = len(scheduler.plan(schedule, planned)) if request.compat == "comfyui" else planned
        return replace(scheduler, start=many - kept).plan(schedule, planned)
    total = planned if scheduler.final.appends_clean else planned + 1
    return replace(scheduler, grid=Slice(_still(scheduler), total)).plan(schedule, kept)


def _share(request: Request, share: float, second: bool) -> tuple[int, int]:
    """How many steps are planned, and how many of them are made, the last ones."""
    steps = request.steps
    if request.compat == "comfyui" and share:
        return (steps if share > 0.9999 else _all(steps, share)), steps
    if request.compat == "a1111":
        share = min(share, 0.999)
        if second and share:
            return _all(steps, share), steps
        return steps, min(int(steps * share) + 1, steps)
    return steps, math.floor(steps * share + 1e-9)  # 0.29 of 100 steps is 29, though the product is below


def _all(steps: int, share: float) -> int:
    """How many steps there are, where `steps` is this share of them. Raises InputError for too many."""
    if steps > share * STEPS:
        raise InputError(
            f"strength {share:g} makes the last {steps} of {steps / share:,.4g} steps, as this program counts, and at "
            f"most {STEPS:,} are planned. Give a strength of at least {math.ceil(1000 * steps / STEPS) / 1000:g}."
        )
    return int(steps / share)


def _still(scheduler: Scheduler) -> Grid:
    if isinstance(scheduler.grid, Travel):
        raise InputError(
            "a scheduler that goes up again (Restart, time travel) cannot be entered midway; choose another, or "
            "strength 1."
        )
    return scheduler.grid
