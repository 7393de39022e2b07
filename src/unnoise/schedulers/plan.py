"""The plan: every number of a run, known before it begins; and the run, which alone holds state."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from unnoise.errors import InputError
from unnoise.process import Estimate, Level, NoiseSchedule, Prediction
from unnoise.process.prediction import get as get_prediction
from unnoise.randomness import BrownianSource, NoiseSource
from unnoise.schedulers.moves import Look, Move, PlannedStep
from unnoise.schedulers.step import Request, Step
from unnoise.schedulers.stepper import Stepper

Denoise = Callable[[Tensor, Level], Estimate | Tensor]
"""The network as the sampler sees it: x (batch, ...) and its level in, an Estimate or the clean sample out."""


@dataclass(frozen=True)
class Plan:
    """A scheduler's work on one noise schedule for one number of steps: only numbers, shared freely.

    schedule: whose levels these are. steps: the moves of each step. memory, draws: how many
    estimates and how many draws a run keeps.
    """

    schedule: NoiseSchedule
    steps: tuple[PlannedStep, ...]
    memory: int
    stochastic: bool
    draws: int = 0

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Where the sample stands before the first step and after each: len(plan) + 1 levels."""
        return (self.steps[0].start, *(step.to for step in self.steps))

    @cached_property
    def looks(self) -> tuple[Level, ...]:
        """The level of every network call, in order."""
        return tuple(move.level for step in self.steps for move in step.moves if isinstance(move, Look))

    def initial(self, eps: Tensor) -> Tensor:
        """Unit noise (batch, ...) scaled to the first level: times sqrt(alpha^2 + sigma^2), 1 for variance preserving.

        That is the deviation of noised data of unit variance, DDPM's prior.
        """
        first = self.levels[0]
        return eps * math.hypot(float(first.alpha), float(first.sigma))

    def run(self, denoise: Denoise, x: Tensor, noise: NoiseSource | None = None) -> Iterator[Step]:
        """Make the steps one by one; the caller owns progress, preview and cancel.

        denoise: any callable (x, level) -> Estimate, or -> clean sample. x: (batch, ...) at `levels[0]`; it is
        not changed. noise: a seed for each sample, needed where `stochastic`. Yields a Step after each step;
        the last one's x is the result.

        Raises InputError where fresh noise is needed and no source, or one of another size, is given.
        """
        walk = self.walk(x, noise)
        event = next(walk)
        while True:
            if isinstance(event, Request):
                answer = denoise(event.x, event.level)
                if not isinstance(answer, Estimate):
                    answer = Estimate.from_x0(event.x, event.level, answer)
                event = walk.send(answer)
                continue
            yield event
            try:
                event = next(walk)
            except StopIteration:
                return

    def walk(
        self, x: Tensor, noise: NoiseSource | None = None
    ) -> Generator[Request | Step, Estimate | None, None]:
        """The run turned inside out, for callers that hold the loop themselves.

        Yields a Request for each look, which is answered by `send(estimate)`, and a Step after each step. An
        estimate of another x than asked about (a sample changed from outside) puts the run there.
        """
        self._check_noise(x, noise)
        looks: list[Estimate] = []
        draws: list[Tensor] = []
        began = x
        for index, planned in enumerate(self.steps):
            anchor, drawn = x, 0
            first: Estimate | None = None
            for move in planned.moves:
                if isinstance(move, Move):
                    fresh = None
                    if move.noise != 0.0 and noise is not None:
                        fresh = _draw(noise, move, index, drawn, anchor)
                        drawn += 1
                    x = move.apply(began if move.redo else anchor, looks, fresh, draws)
                    if fresh is not None and self.draws:
                        draws = [fresh, *draws[: self.draws - 1]]
                    if move.settles:
                        began, anchor = began if move.redo else anchor, x
                    continue
                answer = yield Request(x, move.level)
                assert answer is not None
                if answer.x is not x:
                    anchor = answer.x if anchor is x else anchor
                    x = answer.x
                looks = [answer, *looks[: self.memory - 1]]
                first = first or answer
            assert first is not None
            yield Step(index, planned.start, first, planned.to, x)

    def stepper(self, prediction: str | Prediction = "noise", noise: NoiseSource | None = None) -> Stepper:
        """An object for loops written as `scheduler.step(residual, t, sample).prev_sample`; make one for each run.

        prediction: what the network's output means. noise: as in `run`.
        """
        return Stepper(self, get_prediction(prediction), noise)

    def _check_noise(self, x: Tensor, noise: NoiseSource | None) -> None:
        if self.stochastic and noise is None:
            raise InputError(
                "this scheduler draws noise at each step; give noise=NoiseSource(seeds), a seed for each sample."
            )
        if self.stochastic and noise is not None and len(noise.seeds) != x.shape[0]:
            raise InputError(
                f"{len(noise.seeds)} seeds are given for {x.shape[0]} samples; give one for each."
            )


def _draw(noise: NoiseSource, move: Move, index: int, drawn: int, like: Tensor) -> Tensor:
    """The move's z: a stretch of the seeds' Brownian paths, or the step's own number."""
    if isinstance(noise, BrownianSource) and move.span is not None:
        return noise.increment(*move.span, like=like)
    return noise("step", index, drawn, like=like)
