"""The scheduler: a grid, a solver, a noise rule and a final rule, and the plan they make."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

from unnoise.errors import InputError
from unnoise.limits import Declared, counted, shown, typed, whole
from unnoise.process import DiscreteVP, Level, NoiseSchedule
from unnoise.schedulers.finals import Extrapolate, FinalRule
from unnoise.schedulers.grids import Arcsinh, Grid, clean_level
from unnoise.schedulers.moves import Look, Move, PlannedStep
from unnoise.schedulers.noise import Churn, Deterministic, NoiseRule, Split
from unnoise.schedulers.plan import Plan
from unnoise.schedulers.restart import Travel
from unnoise.schedulers.solvers import Leg, Solver, adams_moulton

_TAKERS = {
    "before": "solvers.Heun() or solvers.Adams(2)",
    "within": "solvers.Adams(2), solvers.ExponentialHeun() or solvers.sa_solver()",
    "after": "solvers.Adams(2) or solvers.ThreeStageX0()",
}
"""Solvers that take a rule's noise, by where it enters."""
_REMEMBERED = 20  # levels a leg is told of; the final rule looks back furthest


@dataclass(frozen=True)
class Scheduler(Declared):
    """Four free parts, each replaceable: `replace(scheduler, grid=grids.Karras())`. Nothing in it changes.

    grid: which levels are visited. solver: how to step between them. noise: how much is drawn afresh.
    final: how the clean sample is reached from the last of them. The defaults were chosen by measurement
    (docs/decisions/010).

    Raises InputError for a noise rule for which the solver has no room.
    """

    grid: Grid = field(default_factory=Arcsinh)
    solver: Solver = field(default_factory=lambda: adams_moulton(2))
    noise: NoiseRule = field(default_factory=Deterministic)
    final: FinalRule = field(default_factory=Extrapolate)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise.stochastic and self.noise.enters not in self.solver.takes:
            raise InputError(
                f"solver is {shown(self.solver)}, which has no room for {shown(self.noise)}; give "
                f"{_TAKERS[self.noise.enters]}, or noise.none()."
            )

    @property
    def stochastic(self) -> bool:
        """Whether runs draw fresh noise."""
        return self.noise.stochastic or isinstance(self.grid, Travel)

    @property
    def steps(self) -> int | None:
        """The one number of steps that the grid is a list for; None where any can be asked for."""
        count = self.grid.count
        return count if count is None or self.final.appends_clean else count - 1

    def plan(self, schedule: NoiseSchedule, steps: int) -> Plan:
        """Everything about a run that does not depend on the network, as host numbers in float64.

        steps: how many; len(plan) == steps. Raises InputError where steps is not a whole number that the schedule
        allows, or the parts do not fit together.
        """
        steps = check_steps(steps, schedule)
        levels = self._levels(schedule, steps)
        planned: list[PlannedStep] = []
        past: tuple[Level, ...] = ()
        before: tuple[Level, Split] | None = None
        rise: tuple[Move, ...] = ()
        for index, (now, to) in enumerate(pairwise(levels)):
            if isinstance(self.grid, Travel) and _rises(now, to):
                rise, past, before = (_raise(now, to),), (), None
                continue
            split = self._split(schedule, now, to, again=len(planned) < index)
            height = self.noise.raised(now, steps)
            raised = schedule.at_ratio(height) if height > float(now.ratio) else None
            past = past if raised is None else _clear_of(past, raised, split.down)
            leg = Leg(raised or now, split, past, schedule, index, levels, before)
            up = (*rise, *((_raise(now, raised, self.noise),) if raised else ()))
            solver = self.solver
            if to.sigma == 0.0:
                solver = solver.ending(self.final.jump(solver, self.noise))
            kinds = tuple[Look | Move, ...]
            moves = (*up, *typed("what the solver gives", solver.moves(leg), kinds, "Look(leg.now)"))
            start = levels[index - 1] if rise else now
            planned.append(PlannedStep(start, to, moves))
            looked = tuple(move.level for move in reversed(moves) if isinstance(move, Look))
            if not looked:
                raise InputError(
                    f"solver is {shown(self.solver)}, which never looks; let its moves begin with Look(leg.now)."
                )
            past, before, rise = (*looked, *past)[:_REMEMBERED], (leg.now, split), ()
        return Plan(schedule, tuple(planned))

    def _levels(self, schedule: NoiseSchedule, steps: int) -> tuple[Level, ...]:
        try:
            visited = self.grid.levels(schedule, steps if self.final.appends_clean else steps + 1)
        except ArithmeticError as error:  # powers and exponentials of settings far from any use
            raise InputError(
                f"grid is {shown(self.grid)}, whose levels are beyond all numbers; give smaller settings."
            ) from error
        visited = typed("what the grid gives", visited, tuple[Level, ...], "schedule.level(0.5)")
        if len(visited) < 2 - self.final.appends_clean:
            raise InputError(
                f"grid is {shown(self.grid)}, which gave {counted(len(visited), 'level')} for "
                f"{counted(steps, 'step')}; let levels(schedule, count) give as many as are asked for."
            )
        if self.final.appends_clean:
            if visited[-1].sigma == 0.0:
                raise InputError("the grid ends at the clean level already; use final=Stop().")
            visited = (*visited, clean_level(schedule))
        self._check_order(visited)
        return visited

    def _check_order(self, levels: tuple[Level, ...]) -> None:
        if isinstance(self.grid, Travel):
            return
        values = [float(level.log_snr) for level in levels]
        pairs = list(pairwise(values))
        if all(now < to for now, to in pairs):
            return
        if not all(now > to for now, to in pairs):
            raise InputError(
                "the grid's levels do not strictly decrease; choose fewer steps, or another grid"
                + (", or final=Stop() for one that goes up." if self.final.appends_clean else ".")
            )
        if self.stochastic:
            raise InputError(
                "a grid that goes from little noise to much (inversion) needs a deterministic noise rule."
            )
        if levels[0].sigma == 0.0:
            raise InputError("inversion cannot start at sigma 0, where the noise residual is undefined.")

    def _split(self, schedule: NoiseSchedule, now: Level, to: Level, again: bool) -> Split:
        """The noise rule's split; no noise into clean data and upwards. again: whether the way rose before."""
        if to.sigma == 0.0 or _rises(now, to) or not self.noise.stochastic:
            return Split(to)
        split = self.noise.split(now, to, schedule)
        # A stretch of levels passed twice needs two independent noises, not one path's stretch twice.
        return replace(split, span=None) if again else split


def _rises(now: Level, to: Level) -> bool:
    return float(to.ratio) > float(now.ratio)


def _clear_of(past: tuple[Level, ...], now: Level, to: Level) -> tuple[Level, ...]:
    """The looks from before `now` was raised; none where the latest is less than half a step away.

    Noise that goes up by most of a step crowds the looks together, and what a polynomial through them says of the step
    is magnified: a thousand steps of LMS with churn were wrong by more than can be written.
    """
    half = 0.5 * (float(to.log_snr) - float(now.log_snr))
    near = not past or not float(now.log_snr) - float(past[0].log_snr) >= half
    return () if near else past


def _raise(now: Level, above: Level, rule: NoiseRule | None = None) -> Move:
    """Noise that lifts x from `now` to `above`, a noisier level."""
    scale = rule.scale if isinstance(rule, Churn) else 1.0
    fresh = float(above.sigma) * (1.0 - (float(now.ratio) / float(above.ratio)) ** 2) ** 0.5
    return Move(float(above.alpha) / float(now.alpha), (), "x0", fresh * scale)


def check_steps(steps: int, schedule: NoiseSchedule) -> int:
    """The number of steps; refused where it is not whole, is below 1, or is above the table's length."""
    typed("schedule", schedule, NoiseSchedule)
    limit = schedule.steps if isinstance(schedule, DiscreteVP) else 1_000_000
    return whole("steps", steps, 1, limit, min(20, limit))
