"""A run driven from outside: `timesteps`, and `step(residual, t, sample).prev_sample`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import floats, shown
from unnoise.process import Estimate, Prediction
from unnoise.randomness import NoiseSource
from unnoise.schedulers.moves import Move
from unnoise.schedulers.step import Request

if TYPE_CHECKING:
    from unnoise.schedulers.plan import Plan, Walk
    from unnoise.schedulers.step import Step


class StepperOutput(NamedTuple):
    """prev_sample: the sample after the step, (batch, ...). pred_original_sample: the predicted clean sample."""

    prev_sample: Tensor
    pred_original_sample: Tensor


class Stepper:
    """One run of a plan for a loop that calls the network itself.

    timesteps: what to tell the network, one for each call (a solver of several calls a step lists them all): int64
    where all are whole, as those of a table often are, else float32. init_noise_sigma: factor of unit noise at the
    start.
    """

    def __init__(self, plan: Plan, prediction: Prediction, noise: NoiseSource | None = None) -> None:
        if isinstance(plan.steps[0].moves[0], Move):
            raise InputError(
                "this scheduler adds noise before the network's first look, where a loop of one's own has none to "
                "give; use plan.run, or no churn at the first level."
            )
        if plan.halves:
            raise InputError(
                "CFG++ needs what the network says without the prompt beside the guided residual, and a loop of one's "
                "own hands in one; use plan.run with a denoise whose estimates have both, or another scheduler."
            )
        self._plan = plan
        self._prediction = prediction
        self._noise = noise
        self._walk: Walk | None = None
        self._request: Request | Step | None = None
        self._done = 0
        times = [float(plan.schedule.network_time(level)) for level in plan.looks]
        whole = all(time.is_integer() for time in times)
        self.timesteps = torch.tensor(times, dtype=torch.int64 if whole else torch.float32, device="cpu")
        self.init_noise_sigma = plan.start_scale

    def step(self, residual: Tensor, t: Tensor | float, sample: Tensor) -> StepperOutput:
        """Go on from `sample` with the network's output there.

        residual: (batch, channels, ...), with twice the channels where the variance is learned. t: the time
        just told to the network, the next of `timesteps`. sample: (batch, channels, ...).

        Raises InputError where t is not the next time, the run is over, or the output is of another sample.
        """
        floats("sample", sample)
        floats("residual", residual, dims=sample.dim())
        self._check_turn(t)
        variance = None
        if sample.dim() > 1 and residual.shape[1] == 2 * sample.shape[1]:
            residual, variance = residual.chunk(2, dim=1)
        if residual.shape != sample.shape:
            raise InputError(
                f"residual is {list(residual.shape)} and sample {list(sample.shape)}; give the network's output for it."
            )
        if self._walk is None:
            self._walk = self._plan.walk(sample, self._noise)
            self._request = next(self._walk)
        assert isinstance(self._request, Request)
        estimate = Estimate(sample, self._request.level, residual, self._prediction, variance)
        self._done += 1
        event = self._walk.send(estimate)
        following = event if isinstance(event, Request) else next(self._walk, None)
        if isinstance(following, Request):
            event = self._request = following
        return StepperOutput(event.x, estimate.x0)

    def _check_turn(self, given: Tensor | float) -> None:
        try:
            t = float(given)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise InputError(f"t is {shown(given)}; give the next of scheduler.timesteps.") from error
        if self._done == len(self.timesteps):
            raise InputError(
                f"all {self._done} calls of this run are made; begin another by plan.stepper(), or set_timesteps."
            )
        expected = float(self.timesteps[self._done])
        if not abs(t - expected) <= 1e-4 * max(1.0, abs(expected)):
            raise InputError(
                f"call {self._done} of this run is at time {expected:g}, not {t:g}; "
                "go through scheduler.timesteps in order."
            )
