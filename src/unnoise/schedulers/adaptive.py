"""Steps as long as a tolerance allows: their lengths follow from the errors of Runge-Kutta solvers."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from torch import Tensor

from unnoise.errors import InputError, NonFiniteError
from unnoise.limits import Amount, Count, Declared, Finite, Positive, ShareAbove, as_declared, floats, typed
from unnoise.process import Estimate, Level, NoiseSchedule
from unnoise.randomness import NoiseSource
from unnoise.schedulers.grids import Exponential, Grid, clean_level
from unnoise.schedulers.moves import Look, Move, PlannedStep
from unnoise.schedulers.noise import Split
from unnoise.schedulers.plan import Denoise, Plan, Walk, answered, looked
from unnoise.schedulers.quadrature import coordinate, from_coordinate, keep, weights
from unnoise.schedulers.scheduler import Scheduler
from unnoise.schedulers.solvers import Adams, Leg, RungeKutta, Solver, ThreeStage
from unnoise.schedulers.solvers.adams import spread
from unnoise.schedulers.step import Request, Step


@dataclass(frozen=True)
class Adaptive(Declared):
    """The probability-flow ODE to a tolerance, with as many network calls as that takes.

    solver: a Runge-Kutta solver of two stages or more. The same step without its last look is of an order less,
    and their difference is the error: root mean square over a sample of |high - low| / max(absolute, relative *
    size), the largest of the batch, in units of u = x / alpha. A sample that must not depend on its batch is run
    alone. first: length of the first step in the solver's variable, as a share of the way. safety: the `factor` from
    which a step is accepted. most: steps that are tried.

    With DPM-Solver's stages this is dpm_adaptive of k-diffusion (Lu et al. 2022a, app. C).
    """

    relative: Amount = 0.05
    absolute: Positive = 0.0078
    solver: RungeKutta = field(default_factory=ThreeStage)
    safety: Finite = 0.81
    first: ShareAbove = 0.01
    most: Count = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.solver.stages) < 2:
            raise InputError(
                "an error is estimated from two stages or more; give ThreeStage() or TwoStage()."
            )

    def run(
        self,
        schedule: NoiseSchedule,
        denoise: Denoise,
        x: Tensor,
        start: Level | None = None,
        end: Level | None = None,
    ) -> Iterator[Step]:
        """The accepted steps, one by one; the last one's x is the result.

        x: (batch, ...) at `start`, by default the schedule's noisiest level. end: by default the cleanest level and
        from there the jump to clean data; a noisier level than `start` leads the sample back to noise.

        Raises InputError for arguments of another kind, and where the way has no finite length in the solver's variable
        or takes too many steps; NonFiniteError where the network's answers are no numbers.
        """
        typed("denoise", denoise, Callable, "diffuser.estimate")
        floats("x", x)
        typed("schedule", schedule, NoiseSchedule)
        begin = schedule.noisiest if start is None else start
        goal = schedule.cleanest if end is None else end
        for name, level in (("start", begin), ("end", goal)):
            typed(name, level, Level, "schedule.level(0.5)")
        step = None
        for step in answered(self.walk(schedule, x, (begin, goal)), denoise):
            yield step
        if end is None:
            assert step is not None
            clean = clean_level(schedule)
            moves = Adams(1).moves(Leg(goal, Split(clean), (), schedule))
            jump = Plan(schedule, (PlannedStep(goal, clean, moves),)).run(denoise, step.x)
            yield from (replace(last, index=step.index + 1) for last in jump)

    def walk(self, schedule: NoiseSchedule, x: Tensor, marks: Sequence[Level]) -> Walk:
        """The same turned inside out (see `Plan.walk`), from the first mark to the last; at each a step ends."""
        now, *goals = marks
        for begin, goal in pairwise(marks):
            self._check_way(begin, goal)
        length, index = (self._place(goals[-1]) - self._place(now)) * self.first, 0
        for _ in range(self.most):
            rest = self._place(goals[0]) - self._place(now)
            last = abs(length) >= abs(rest) * (1.0 - 1e-9)
            to = goals[0]
            if not last:
                to = schedule.at_ratio(from_coordinate(self.solver.variable, self._place(now) + length))
            high, low, looks = yield from self._try(schedule, x, now, to)
            factor = self.factor(self._error(x, now, high, low, to))
            good = factor >= self.safety
            made = (rest if last else length) * factor
            # A step that a mark cut short says nothing against the length that was due.
            length = max(made, length, key=abs) if good and last else made
            if not good:
                continue
            x = high
            yield Step(index, now, looks[-1], to, x)
            now, index = to, index + 1
            if last:
                goals = goals[1:]
            if not goals:
                return
        raise InputError(f"{self.most} steps did not reach the end; allow a larger error, or more steps.")

    def factor(self, error: float) -> float:
        """Of the next step's length: 1 + atan(f - 1), f = (1 / error)^(1 / order); error: in units of the tolerance.

        An integral controller, and its smooth limit (Soederlind 2003).
        """
        return 1.0 + math.atan((error + 1e-8) ** (-1.0 / self.solver.order) - 1.0)

    def _try(
        self, schedule: NoiseSchedule, x: Tensor, now: Level, to: Level
    ) -> Generator[Request, Estimate | None, tuple[Tensor, Tensor, list[Estimate]]]:
        """The step's result, the same an order lower, and the looks, latest first."""
        looks: list[Estimate] = []
        levels: list[Level] = []
        place = x
        for move in self.solver.moves(Leg(now, Split(to), (), schedule)):
            if isinstance(move, Look):
                seen = yield from looked(place, move.level)
                looks, levels = [seen, *looks], [*levels, move.level]
            else:
                place = move.apply(x, looks, None)
        unknown = self.solver.unknown
        factors = weights(unknown, self.solver.variable, levels[:-1], now, to)
        line = tuple(spread(range(len(factors), 0, -1), factors))
        low = Move(keep(unknown, now, to), line, unknown).apply(x, looks, None)
        return place, low, looks

    def _error(self, x: Tensor, now: Level, high: Tensor, low: Tensor, to: Level) -> float:
        before, after = float(now.alpha), float(to.alpha)
        size = (x.abs() / before).maximum(low.abs() / after)
        miss = (high - low) / after / (size * self.relative).clamp(min=self.absolute)
        error = float(miss.detach().pow(2).reshape(len(x), -1).mean(1).max().sqrt())
        if not math.isfinite(error):
            raise NonFiniteError(
                f"the step from ratio {float(now.ratio):g} left the finite numbers; look at what the network says."
            )
        return error

    def _place(self, level: Level) -> float:
        return coordinate(self.solver.variable, float(level.ratio))

    def _check_way(self, begin: Level, goal: Level) -> None:
        here, there = self._place(begin), self._place(goal)
        if not (math.isfinite(here) and math.isfinite(there)) or begin.alpha == 0.0:
            raise InputError(
                f"the way from ratio {float(begin.ratio):g} has no finite length in {self.solver.variable}; "
                "start at a level that holds signal."
            )
        if here == there or goal.sigma == 0.0 or begin.sigma == 0.0:
            raise InputError(
                "give two levels with noise for the start and the end; the last jump is made besides."
            )


def check_alone(samples: int) -> None:
    """Refuse more than one sample."""
    if samples != 1:
        raise InputError(
            f"DPM adaptive fits its steps to one picture, and {samples} are given; make one at a time (count 1), or "
            "use DPM fast."
        )


@dataclass(frozen=True)
class ToTolerance(Scheduler):
    """Adaptive steps as a scheduler: between two levels of the grid as many steps as the tolerance needs.

    A run has `steps` steps and levels as any other, but no fixed number of network calls; the last step is the jump
    to clean data. With two the controller is free from end to end. One sample a run: steps that fit one of a batch
    would change the others.

    Raises InputError for fresh noise, restarts, and a solver that cannot tell its error.
    """

    grid: Grid = field(default_factory=Exponential)
    solver: Solver = field(default_factory=ThreeStage)
    adaptive: Adaptive = field(default_factory=Adaptive)

    def __post_init__(self) -> None:
        as_declared(self)  # not as all schedulers: none of these solvers takes noise here
        if self.stochastic or not isinstance(self.solver, RungeKutta):
            raise InputError(
                "steps to a tolerance need a Runge-Kutta solver and no fresh noise, nor restarts."
            )

    def plan(self, schedule: NoiseSchedule, steps: int) -> AdaptivePlan:
        """As `Scheduler.plan`."""
        parts = Scheduler(self.grid, Adams(1), self.noise, self.final).plan(schedule, steps).steps
        assert isinstance(self.solver, RungeKutta)
        return AdaptivePlan(schedule, parts, adaptive=replace(self.adaptive, solver=self.solver))


@dataclass(frozen=True)
class AdaptivePlan(Plan):
    """A plan whose parts are divided further while it runs."""

    adaptive: Adaptive = field(default_factory=Adaptive)

    @property
    def looks(self) -> tuple[Level, ...]:
        """Not known before the run. Raises InputError, for loops and comparisons that count on them."""
        raise InputError(
            "DPM adaptive asks the network as often as its tolerance needs, and nobody knows the times before; use "
            "plan.run, or DPM fast."
        )

    def walk(self, x: Tensor, noise: NoiseSource | None = None) -> Walk:
        """As `Plan.walk`. Raises InputError for more than one sample."""
        check_alone(x.shape[0])
        noisy = [level for level in self.levels if level.sigma > 0.0]
        # from a level without signal the way has no finite length: one step as planned
        first = int(noisy[0].alpha == 0.0)
        x = yield from self._handed_on(Plan(self.schedule, self.steps[:first]).walk(x), 0, x)
        if len(noisy) - first > 1:
            x = yield from self._handed_on(self.adaptive.walk(self.schedule, x, noisy[first:]), first, x)
        last = len(noisy) - 1
        yield from self._handed_on(Plan(self.schedule, self.steps[last:]).walk(x), last, x)

    def _handed_on(
        self, walk: Walk, index: int, x: Tensor
    ) -> Generator[Request | Step, Estimate | None, Tensor]:
        """A walk's requests, and its steps from level to level, counted from `index`; returns the last sample."""
        event, first = next(walk, None), None
        while event is not None:
            if isinstance(event, Request):
                event = walk.send((yield event))
                continue
            x, first = event.x, first or event
            if event.level in self.levels:
                yield Step(index, first.start, first.estimate, event.level, x)
                index, first = index + 1, None
            event = next(walk, None)
        return x
