"""The plan: every number of a run, known before it begins; and the run, which alone holds state."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import counted, floats, typed
from unnoise.process import Estimate, Level, NoiseSchedule, Prediction
from unnoise.process.prediction import get as get_prediction
from unnoise.randomness import BrownianSource, NoiseSource
from unnoise.schedulers.moves import Look, Move, PlannedStep
from unnoise.schedulers.step import Request, Step
from unnoise.schedulers.stepper import Stepper

Denoise = Callable[[Tensor, Level], Estimate | Tensor]
"""The network as the sampler sees it: x (batch, ...) and its level in, an Estimate or the clean sample out."""

Walk = Generator["Request | Step", "Estimate | None", None]
"""A run turned inside out: it asks, is answered by `send`, and hands out the steps that have been made."""


def estimated(denoise: Denoise, x: Tensor, level: Level) -> Estimate:
    """What `denoise` says of x, as an Estimate. Raises InputError where it says something else than it may."""
    answer = denoise(x, level)
    if isinstance(answer, Estimate):
        return answer
    if not isinstance(answer, Tensor):
        raise InputError(
            f"denoise(x, level) gave a {type(answer).__name__}; let it return an Estimate, or the clean sample."
        )
    if answer.shape != x.shape:
        raise InputError(
            f"denoise(x, level) gave {list(answer.shape)} for x {list(x.shape)}; let it return a clean sample for each."
        )
    return Estimate.from_x0(x, level, answer)


def looked(x: Tensor, level: Level) -> Generator[Request, Estimate | None, Estimate]:
    """The network's view of x, as a part of a walk. Who was interrupted before the answer is asked again."""
    answer: Estimate | None = None
    while answer is None:
        answer = yield Request(x, level)
    return answer


def next_step(walk: Walk, denoise: Denoise) -> Step | None:
    """The next step of a walk, its questions answered by `denoise`; None after the last."""
    event = next(walk, None)
    while isinstance(event, Request):
        event = walk.send(estimated(denoise, event.x, event.level))
    return event


def answered(walk: Walk, denoise: Denoise) -> Iterator[Step]:
    """The steps of a walk, its questions answered by `denoise`."""
    while (step := next_step(walk, denoise)) is not None:
        yield step


@dataclass(frozen=True)
class Plan:
    """A scheduler's work on one noise schedule for one number of steps: only numbers, shared freely.

    schedule: whose levels these are. steps: the moves of each step. pure: whether it begins with noise alone, as some
    programs have it, and not with noised data of unit variance.
    """

    schedule: NoiseSchedule
    steps: tuple[PlannedStep, ...]
    pure: bool = False

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Where the sample stands before the first step and after each: len(plan) + 1 levels."""
        return (self.steps[0].start, *(step.to for step in self.steps))

    @cached_property
    def moves(self) -> tuple[Move, ...]:
        """Of all steps, in order."""
        return tuple(move for step in self.steps for move in step.moves if isinstance(move, Move))

    @cached_property
    def memory(self) -> int:
        """How many estimates a run keeps."""
        return max([1, *(len(move.of_estimates) for move in self.moves)])

    @cached_property
    def draws(self) -> int:
        """How many draws a run keeps."""
        return max([0, *(len(move.of_draws) for move in self.moves)])

    @cached_property
    def stochastic(self) -> bool:
        """Whether a run draws any noise."""
        return any(move.noise != 0.0 for move in self.moves)

    @cached_property
    def halves(self) -> bool:
        """Whether a move follows what the network says without the prompt (CFG++)."""
        return any(move.unknown == "unguided" for move in self.moves)

    @cached_property
    def looks(self) -> tuple[Level, ...]:
        """The level of every network call, in order."""
        return tuple(move.level for step in self.steps for move in step.moves if isinstance(move, Look))

    def initial(self, eps: Tensor) -> Tensor:
        """Unit noise (batch, ...) scaled to the first level. Raises InputError where it is no Tensor of floats."""
        floats("eps", eps)
        return eps * self.start_scale

    @property
    def start_scale(self) -> float:
        """Factor of unit noise at the start: sqrt(alpha^2 + sigma^2), 1 for variance preserving.

        That is the deviation of noised data of unit variance, DDPM's prior. Where the start is `pure`, sigma alone.
        """
        first = self.levels[0]
        return float(first.sigma) if self.pure else math.hypot(float(first.alpha), float(first.sigma))

    def run(self, denoise: Denoise, x: Tensor, noise: NoiseSource | None = None) -> Iterator[Step]:
        """Make the steps one by one; the caller owns progress, preview and cancel.

        denoise: any callable (x, level) -> Estimate, or -> clean sample. x: (batch, ...) at `levels[0]`; it is
        not changed. noise: a seed for each sample, needed where `stochastic`. Yields a Step after each step;
        the last one's x is the result.

        Raises InputError where denoise is no function or x no Tensor of floats, and at the first step where fresh noise
        is needed and no source, or one of another size, is given.
        """
        typed("denoise", denoise, Callable, "diffuser.estimate")
        floats("x", x)
        return answered(self.walk(x, noise), denoise)

    def walk(self, x: Tensor, noise: NoiseSource | None = None) -> Walk:
        """The run turned inside out, for callers that hold the loop themselves.

        Yields a Request for each look, which is answered by `send(estimate)`, and a Step after each step. An
        estimate of another x than asked about (a sample changed from outside) puts the run there, uncorrected.
        """
        self._check_noise(x, noise)
        looks: list[Estimate] = []
        state = _State(x, noise, self.draws)
        for index, planned in enumerate(self.steps):
            state.begin(index)
            first: Estimate | None = None
            for move in planned.moves:
                if isinstance(move, Move):
                    state.make(move, looks)
                    continue
                answer = yield from looked(state.x, move.level)
                if answer.x is not state.x:
                    state.put(answer.x)
                looks = [answer, *looks[: self.memory - 1]]
                first = first or answer
            assert first is not None
            yield Step(index, planned.start, first, planned.to, state.x)

    def stepper(self, prediction: str | Prediction = "noise", noise: NoiseSource | None = None) -> Stepper:
        """An object for loops written as `scheduler.step(residual, t, sample).prev_sample`; make one for each run.

        prediction: what the network's output means. noise: as in `run`.

        Raises InputError where such a loop cannot give what is asked for: noise before the first look (churn), or the
        answer without the prompt (CFG++).
        """
        return Stepper(self, get_prediction(prediction), noise)

    def _check_noise(self, x: Tensor, noise: NoiseSource | None) -> None:
        if self.stochastic and not hasattr(noise, "seeds"):
            raise InputError(
                "this scheduler draws noise at each step; give noise=NoiseSource(seeds), a seed for each sample."
            )
        if self.stochastic and noise is not None and len(noise.seeds) != x.shape[0]:
            raise InputError(
                f"noise has {counted(len(noise.seeds), 'seed')} for {counted(x.shape[0], 'sample')}; give one for each."
            )


class _State:
    """The only state of a run besides its looks: the sample, where the last settled move began, and recent draws."""

    __slots__ = ("anchor", "began", "drawn", "draws", "index", "keep", "moved", "noise", "x")

    def __init__(self, x: Tensor, noise: NoiseSource | None, keep: int) -> None:
        self.x = self.anchor = self.began = x
        self.noise, self.keep = noise, keep
        self.draws: list[Tensor] = []

    def begin(self, index: int) -> None:
        self.index, self.drawn, self.moved = index, 0, False
        self.anchor = self.x

    def put(self, x: Tensor) -> None:
        """Go on from a sample that was changed from outside; a correction would undo the change and is left out."""
        if self.anchor is self.x:
            self.anchor = x
        self.x, self.moved = x, True

    def make(self, move: Move, looks: list[Estimate]) -> None:
        if move.redo and self.moved:
            return
        fresh = self._fresh(move) if move.noise != 0.0 else None
        base = self.began if move.redo else self.anchor
        self.x = move.apply(base, looks, fresh, self.draws)
        if fresh is not None and self.keep:
            self.draws = [fresh, *self.draws[: self.keep - 1]]
        if move.settles:
            self.began, self.anchor = base, self.x

    def _fresh(self, move: Move) -> Tensor:
        """The move's z: a stretch of the seeds' Brownian paths, or a number of the step's own."""
        assert self.noise is not None
        if isinstance(self.noise, BrownianSource) and move.span is not None:
            return self.noise.increment(*move.span, like=self.anchor)
        fresh = self.noise("step", self.index, self.drawn, like=self.anchor)
        self.drawn += 1
        return fresh
