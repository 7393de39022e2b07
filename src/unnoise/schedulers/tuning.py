"""Steps fitted to a model: the levels and factors whose few steps come nearest to the converged result.

At equal noise x_T the result x_N of N steps depends on the levels w_1 .. w_N-1 and on the factors of the looks. Both
are found by least squares, min |x_N(theta) - x_converged|^2 over a few dozen trajectories, by Levenberg's and
Marquardt's damped Gauss-Newton steps (Marquardt 1963); the Jacobian is made of differences, a run for each number,
so that the network is asked and never differentiated, and may be anything that can be called.

The thought that a solver may be fitted to its model is that of bespoke solvers (Shaul et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from unnoise.errors import InputError, NonFiniteError
from unnoise.limits import floats, is_whole, shown, typed, whole
from unnoise.process import Level, NoiseSchedule
from unnoise.process.level import as_tensor
from unnoise.schedulers.plan import Denoise
from unnoise.schedulers.scheduler import Scheduler
from unnoise.schedulers.tuned import Tuned

_APART = 1e-2  # of a logarithm, or of a step's size: small for the curve, large for float32
_RIDGE = 1e-6  # of the target's mean square, for a change as large as its step
_PATIENCE = 3  # rounds without gain on the checked trajectories
_TRIES = 6
_FAR = 2.0  # times the middle trajectory's miss, from which a trajectory counts less

Told = Callable[[int, int], None]
"""Hears how many network calls are done, of at most how many."""


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Beginnings, and the network that leads on from them.

    denoise: (x, level) -> Estimate or clean sample, for these rows. noise: unit noise, (rows, ...).
    """

    denoise: Denoise
    noise: Tensor

    def __post_init__(self) -> None:
        typed("denoise", self.denoise, Callable, "diffuser.estimate")
        floats("noise", self.noise)

    @torch.inference_mode()
    def end(self, scheduler: Scheduler, schedule: NoiseSchedule, steps: int) -> Tensor:
        """Where a run of so many steps ends: (rows, ...)."""
        plan = scheduler.plan(schedule, steps)
        *_, last = plan.run(self.denoise, plan.initial(self.noise))
        return last.x


@dataclass(frozen=True)
class Round:
    """What is known after a round.

    number: 0 is the base itself. error, checked: distance to the converged result, root mean square of the fitted
    trajectories, and mean of the root mean squares of those that are only watched. calls: network calls so far.
    tuned: the best so far on the watched ones.
    """

    number: int
    error: float
    checked: float
    calls: int
    tuned: Tuned


def fit(
    schedule: NoiseSchedule,
    fitted: Trajectories,
    checked: Trajectories,
    steps: int,
    base: Scheduler,
    *,
    name: str = "",
    looks: int = 3,
    rounds: int = 12,
    reference: int = 100,
    start: Tuned | None = None,
    told: Told | None = None,
) -> Iterator[Round]:
    """Improve the levels and factors of `base` for so many steps, round by round; leave when it is good enough.

    fitted, checked: trajectories to fit, and others that decide which round is the best and when no more is gained.
    base: a deterministic scheduler, found by `name` when the result is read. looks: how many of the latest looks'
    factors are free at each step, 0 for the levels alone. reference: steps of the base that count as converged.
    start: go on from here. told: hears of progress.

    Raises NonFiniteError where the first run is no number; InputError for a stochastic scheduler, steps that are not
    2 to `reference` / 4, or a start of other steps.
    """
    problem = _Problem(schedule, fitted, checked, base, name, steps, looks, reference, told)
    problem.check(start)
    problem.most = whole("rounds", rounds, 1, example=12) * (problem.size + 3) * steps + 2 * reference
    place = problem.first(start)
    residual = problem.residual(place)
    if residual is None:
        raise NonFiniteError(
            f"the run of {steps} steps that the fit begins with left the finite numbers, or its levels do not "
            "fall; begin with another scheduler, or another start."
        )
    best, watched, since, damping = place, problem.watch(place), 0, 1e-2
    yield problem.round(0, residual, watched, best)
    for number in range(1, rounds + 1):
        slopes, weights = problem.slopes(place, residual), problem.weights(residual)
        found = _damped(problem, place, residual, slopes, weights, damping)
        if found is None:
            return
        gain = 1.0 - float((weights * found[1]).square().sum() / (weights * residual).square().sum())
        place, residual, damping = found
        now = problem.watch(place)
        since = 0 if now < watched else since + 1
        if now < watched:
            best, watched = place, now
        yield problem.round(number, residual, watched, best)
        if since == _PATIENCE or 0.0 <= gain < 1e-3:
            return


def _damped(
    problem: _Problem, place: Tensor, residual: Tensor, slopes: Tensor, weights: Tensor, damping: float
) -> tuple[Tensor, Tensor, float] | None:
    """A place with a smaller sum of squares, its residual, and the damping of the next round; None if there is none."""
    slopes, pull = slopes * weights.unsqueeze(1), problem.pull
    normal = slopes.T @ slopes
    downhill = -(slopes.T @ (weights * residual) + pull * place)
    height = problem.height(place, weights * residual)
    for _ in range(_TRIES):
        matrix = normal + torch.diag(pull + damping * normal.diagonal() + 1e-9)
        there = place + torch.linalg.solve(matrix, downhill)
        reached = problem.residual(there)
        if reached is not None and problem.height(there, weights * reached) < height:
            return there, reached, max(damping / 5.0, 1e-6)
        damping *= 5.0
    return None


@dataclass(eq=False)
class _Problem:
    """Numbers theta -> residual. theta: logarithms of all ratios but the first, then the changes, step by step."""

    schedule: NoiseSchedule
    fitted: Trajectories
    checked: Trajectories
    base: Scheduler
    name: str
    steps: int
    looks: int
    reference: int
    told: Told | None
    most: int = 0
    calls: int = field(default=0, init=False)

    def check(self, start: Tuned | None) -> None:
        """Refuse what cannot be fitted, or not from this start."""
        for name in ("fitted", "checked"):
            typed(name, getattr(self, name), Trajectories, "Trajectories(denoise, noise)")
        typed("start", start, Tuned | None)
        reference = whole("reference", self.reference, 8, example=100)
        steps, looks = self.steps, self.looks
        if typed("base", self.base, Scheduler, "names.get('DDIM')").stochastic:
            raise InputError("a scheduler that draws noise has no converged result to be near; tune another.")
        self.base.plan(self.schedule, steps)  # refuses what it refuses
        if not 2 <= steps <= reference // 4:
            raise InputError(
                f"steps is {steps} where {reference} count as converged; give 2 to {reference // 4}, for example 8."
            )
        if not is_whole(looks, 0):
            raise InputError(
                f"looks is {shown(looks)}; give how many factors a step are free, 0 for the levels alone."
            )
        if start is not None and len(start.ratios) != steps:
            raise InputError(
                f"the start is tuned for {len(start.ratios)} steps, not {steps}; give as many steps."
            )

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The base's own."""
        return self.base.plan(self.schedule, self.steps).levels

    @cached_property
    def target(self) -> Tensor:
        return self._end(self.fitted, self.base, self.reference)

    @cached_property
    def watched_target(self) -> Tensor:
        return self._end(self.checked, self.base, self.reference)

    @property
    def widths(self) -> list[int]:
        """How many changes each step has: as many looks as there are by then."""
        return [min(index + 1, self.looks) for index in range(self.steps)]

    @property
    def size(self) -> int:
        return self.steps - 1 + sum(self.widths)

    @cached_property
    def pull(self) -> Tensor:
        """Strength by which each number is drawn to 0: none for levels."""
        strength = _RIDGE * float(self.target.square().sum())
        free = [0.0] * (self.steps - 1)
        return as_tensor(free + [strength] * (self.size - len(free)))

    def first(self, start: Tuned | None) -> Tensor:
        own = tuple(float(level.ratio) for level in self.levels[: self.steps])
        start = start or Tuned(self.name, own, ((),) * self.steps)
        rows = zip(start.changes, self.widths, strict=True)
        changes = [row[j] if j < len(row) else 0.0 for row, width in rows for j in range(width)]
        return as_tensor([*map(math.log, start.ratios[1:]), *changes])

    def tuned(self, place: Tensor) -> Tuned:
        numbers = iter(place.tolist())
        ratios = (float(self.levels[0].ratio), *(math.exp(next(numbers)) for _ in range(self.steps - 1)))
        return Tuned(
            self.name, ratios, tuple(tuple(next(numbers) for _ in range(wide)) for wide in self.widths)
        )

    def residual(self, place: Tensor) -> Tensor | None:
        """Flat, float64; None where the place is none: levels that do not fall, or numbers that are not finite."""
        try:
            end = self._end(self.fitted, self.tuned(place).on(self.base), self.steps)
        except (InputError, OverflowError):
            return None
        miss = end - self.target
        return miss if bool(torch.isfinite(miss).all()) else None

    def slopes(self, place: Tensor, residual: Tensor) -> Tensor:
        """The Jacobian by differences, (numbers of the residual, numbers of theta)."""
        columns = []
        for index in range(len(place)):
            for apart in (_APART, -_APART, 0.1 * _APART):  # levels may lie close together
                moved = place.clone()
                moved[index] += apart
                reached = self.residual(moved)
                if reached is not None:
                    break
            columns.append(torch.zeros_like(residual) if reached is None else (reached - residual) / apart)
        return torch.stack(columns, dim=1)

    def weights(self, residual: Tensor) -> Tensor:
        """Roots of the weights, one a number: less for trajectories that miss by much more than the middle one.

        Where few steps lead to another picture altogether no small change helps, and squares would count nothing else.
        """
        each = residual.reshape(len(self.fitted.noise), -1)
        misses = each.square().mean(1)
        weights = (1.0 + misses / (_FAR**2 * misses.median().clamp(min=1e-30))).rsqrt()
        return weights.repeat_interleave(each.shape[1])

    def height(self, place: Tensor, residual: Tensor) -> float:
        """What is made small: the sum of squares, and the pull on changes."""
        return float(residual.square().sum() + (self.pull * place.square()).sum())

    def watch(self, place: Tensor) -> float:
        end = self._end(self.checked, self.tuned(place).on(self.base), self.steps)
        each = (end - self.watched_target).reshape(len(self.checked.noise), -1)
        return float(each.square().mean(1).sqrt().mean())

    def round(self, number: int, residual: Tensor, watched: float, best: Tensor) -> Round:
        return Round(number, float(residual.square().mean().sqrt()), watched, self.calls, self.tuned(best))

    def _end(self, trajectories: Trajectories, scheduler: Scheduler, steps: int) -> Tensor:
        end = trajectories.end(scheduler, self.schedule, steps)
        self.calls += steps * scheduler.solver.calls
        if self.told is not None:
            self.told(min(self.calls, self.most), self.most)
        return end.double().cpu().flatten()
