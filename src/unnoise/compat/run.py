"""One run behind diffusers' interface: the plan of all steps, where it is entered, and noise of torch's generators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.process import Flow, NoiseSchedule, Prediction
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Look, Plan, Scheduler, Stepper, StepperOutput, grids
from unnoise.schedulers.presets.preset import Preset
from unnoise.schedulers.restart import Travel

Generators = torch.Generator | Sequence[torch.Generator] | None

THOUSAND = 1000.0
"""What a flow model's network is told of its whole way, from 0 to 1, in diffusers."""


class Run:
    """One run of one thread: the plan of all steps, and a stepper from where it begins."""

    def __init__(
        self,
        parts: Scheduler,
        schedule: NoiseSchedule,
        prediction: Prediction,
        steps: int,
        device: str | torch.device | None,
    ) -> None:
        self.parts, self.schedule, self.prediction, self.steps = parts, schedule, prediction, steps
        self.plan: Plan = parts.plan(schedule, steps)
        self.noise = Drawn()
        self.whole: Stepper = self._stepper(self.plan)
        self.unit = THOUSAND if isinstance(schedule, Flow) else 1
        times = self.whole.timesteps * self.unit
        self.timesteps = times.to(device)
        self.looks = list(zip(times.tolist(), self.plan.looks, strict=True))
        self.begin: int | None = None
        self.stepper: Stepper | None = None

    def enter(self, call: int) -> None:
        """Begin at this call."""
        calls = [sum(isinstance(move, Look) for move in step.moves) for step in self.plan.steps]
        starts = [sum(calls[:first]) for first in range(len(calls))]
        if call not in starts:
            raise InputError(
                f"call {call} is none of the {sum(calls)} of this run, or lies inside a step of several; "
                "begin at a step."
            )
        first, self.begin = starts.index(call), call
        self.stepper = self.whole if first == 0 else self._stepper(self._from(first))

    def _stepper(self, plan: Plan) -> Stepper:
        return plan.stepper(self.prediction, cast("NoiseSource", self.noise))  # called the same way

    def _from(self, first: int) -> Plan:
        if isinstance(self.parts, Preset):
            return replace(self.parts, start=first).plan(self.schedule, self.steps)
        if isinstance(self.parts.grid, Travel):
            raise InputError(
                "a scheduler that goes up again (Restart) cannot be entered midway; choose another."
            )
        grid = grids.Slice(self.parts.grid, self.steps + (not self.parts.final.appends_clean))
        return replace(self.parts, grid=grid).plan(self.schedule, len(self.plan) - first)

    def step(
        self, output: Tensor, time: Tensor | float, sample: Tensor, generator: Generators
    ) -> StepperOutput:
        """The next step; the first also finds where the run begins."""
        if self.stepper is None:
            self.enter(min(range(len(self.looks)), key=lambda i: abs(self.looks[i][0] - float(time))))
        assert self.stepper is not None
        self.noise.seeds, self.noise.generator = range(sample.shape[0]), generator
        return self.stepper.step(output, float(time) / self.unit, sample)


class Drawn:
    """Noise from torch's generators, as diffusers draws it."""

    def __init__(self) -> None:
        self.seeds: Sequence[int] = ()
        self.generator: Generators = None

    def __call__(self, purpose: str, *position: int, like: Tensor) -> Tensor:
        """Standard normal numbers shaped as `like`."""
        each = self.generator if isinstance(self.generator, Sequence) else [self.generator]
        if len(each) not in (1, len(like)):
            raise InputError(
                f"{len(each)} generators are given for {len(like)} samples; give one, or one for each."
            )
        parts = zip(like.chunk(len(each)), each, strict=True)
        return torch.cat([_normal(part, one) for part, one in parts])


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
