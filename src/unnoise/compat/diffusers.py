"""Our schedulers where diffusers' pipelines look for theirs: `pipe.scheduler = scheduler("DPM++ 2M Karras")`.

Nothing of diffusers is imported: a pipeline asks its scheduler for a few attributes and methods, which are here.
Samples keep the model's own scaling, so `scale_model_input` changes nothing where variance is preserved. On a flow
model times count to a thousand and sigmas are shares of noise, as its pipelines have them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unnoise.compat.configuration import class_of, told
from unnoise.compat.run import THOUSAND, Generators, Run
from unnoise.errors import InputError
from unnoise.limits import typed
from unnoise.process import DiscreteVP, Flow, Level, NoiseSchedule, Prediction
from unnoise.process import prediction as predictions
from unnoise.process.level import expand
from unnoise.schedulers import Scheduler, StepperOutput, grids, names
from unnoise.schedulers.presets.preset import Preset


def scheduler(
    name: str | Scheduler,
    config: Mapping[str, Any] | None = None,
    *,
    compat: str | None = None,
    grid: str | None = None,
    schedule: NoiseSchedule | None = None,
    prediction: str | Prediction | None = None,
) -> DiffusersScheduler:
    """An object for `pipe.scheduler`, and for loops written as `scheduler.step(residual, t, sample).prev_sample`.

    name, compat, grid: as for `unnoise.schedulers.names.get`. config: the configuration of the scheduler that the
    model came with (`pipe.scheduler.config`), from which its noise levels and prediction are read. schedule,
    prediction: the same, given; Stable Diffusion's and "noise" where nothing is.

    Raises InputError for an unknown name, or a configuration that is not known.
    """
    if config is not None:
        config = typed("config", config, Mapping)
        found = names.from_config({"_class_name": class_of(config), **config})
        schedule, prediction = schedule or found.schedule, prediction or found.prediction
    return DiffusersScheduler(
        names.get(name, compat, grid),
        schedule or DiscreteVP.scaled_linear(),
        predictions.get(prediction or "noise"),
        config or {},
    )


class _OfThread(threading.local):
    """What one thread has set."""

    run: Run | None = None


class DiffusersScheduler:
    """A scheduler with the interface of diffusers'.

    Runs are kept apart by thread: what one thread sets with `set_timesteps` no other sees, so that threads may
    share one object. Within a thread the interface knows one run at a time; `set_timesteps` begins a new one.
    """

    def __init__(
        self, parts: Scheduler, schedule: NoiseSchedule, prediction: Prediction, given: Mapping[str, Any]
    ) -> None:
        self.parts = parts
        self.schedule = schedule
        self.prediction = prediction
        self.order = parts.solver.calls
        self.config = told(schedule, prediction, given)
        self._local = _OfThread()

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = _OfThread()

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Begin a run of so many steps, or through a list of times, or of sigmas (a last 0 is left out).

        On a flow model lists are shifted, as there. mu: logarithm of the shift, for models whose shift follows the
        picture's size; others do not heed it.

        Raises InputError unless exactly one of the first three is given, and where mu is needed and missing.
        """
        given = [value is not None for value in (num_inference_steps, timesteps, sigmas)]
        if sum(given) != 1:
            raise InputError(
                "set_timesteps takes one of num_inference_steps, timesteps and sigmas; give one."
            )
        schedule = self._shifted(mu)
        if num_inference_steps is not None:
            parts, steps = self.parts, num_inference_steps
        else:
            grid = _listed(schedule, timesteps, sigmas)
            parts, steps = _on(self.parts, grid), grid.count or 0
        terminal = self.config.get("shift_terminal")
        if terminal:
            parts = _on(parts, grids.StretchToTerminal(parts.grid, terminal))
        self._local.run = Run(parts, schedule, self.prediction, steps, device)

    def _shifted(self, mu: float | None) -> NoiseSchedule:
        """The model's noise levels, with the shift of this run where that follows the picture."""
        if not self.config.get("use_dynamic_shifting"):
            return self.schedule
        if mu is None or isinstance(self.parts, Preset) or not isinstance(self.schedule, Flow):
            raise InputError(
                "this model's shift follows the picture's size (use_dynamic_shifting); give mu, and leave compat out."
            )
        return replace(
            self.schedule, shift=mu if self.config.get("time_shift_type") == "linear" else math.exp(mu)
        )

    @property
    def _run(self) -> Run:
        if self._local.run is None:
            raise InputError("this thread has no run; call set_timesteps(20) first.")
        return self._local.run

    @property
    def timesteps(self) -> Tensor:
        """What to tell the network, a number for each of its calls."""
        return self._run.timesteps

    @property
    def sigmas(self) -> Tensor:
        """Sigma / alpha of every level, on a flow model sigma; the last 0, float32."""
        flow, levels = isinstance(self.schedule, Flow), self._run.plan.levels
        return _host([float(level.sigma if flow else level.ratio) for level in levels])

    @property
    def num_inference_steps(self) -> int:
        """Steps of the run."""
        return len(self._run.plan)

    @property
    def init_noise_sigma(self) -> float:
        """Factor of unit noise at the start."""
        return 1.0 if self._local.run is None else self._local.run.whole.init_noise_sigma

    @property
    def begin_index(self) -> int | None:
        """Which call the run begins with; None before it is told."""
        return self._run.begin

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at this call, as image to image does. Raises InputError inside a step of several calls."""
        self._run.enter(begin_index)

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:
        """The sample (batch, ...) as the network takes it."""
        if timestep is None:
            return sample
        scale = self.prediction.input_scale(self._level(float(timestep)))
        return sample if scale == 1.0 else sample * scale

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> StepperOutput | tuple[Tensor, Tensor]:
        """Go on from `sample` (batch, ...) with the network's output there.

        generator: where a scheduler that draws noise takes it from, one or one a sample; torch's own by default.
        """
        output = self._run.step(model_output, timestep, sample, generator)
        return output if return_dict else (output.prev_sample, output.pred_original_sample)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Alpha x_0 + sigma eps at the times, (batch,) or one for all."""
        levels = [self._level(float(time)) for time in timesteps.reshape(-1)]
        alpha = expand(_host([float(level.alpha) for level in levels]), original_samples)
        sigma = expand(_host([float(level.sigma) for level in levels]), original_samples)
        return alpha * original_samples + sigma * noise

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """The same as `add_noise`, as pipelines of flow models call it."""
        return self.add_noise(sample, noise, timestep)

    def _level(self, time: float) -> Level:
        """The run's level that is told this time; else the schedule's."""
        if self._local.run is not None:
            near = min(self._local.run.looks, key=lambda pair: abs(pair[0] - time))
            if abs(near[0] - time) <= 1e-4 * max(1.0, abs(time)):
                return near[1]
        if isinstance(self.schedule, Flow):
            return self.schedule.at_ratio(_flow_ratio(min(max(time / THOUSAND, 0.0), 1.0)))
        return self.schedule.level(
            min(max(time, self.schedule.clean_time), float(self.schedule.noisiest.time))
        )


def _host(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32, device="cpu")


def _listed(
    schedule: NoiseSchedule, times: Sequence[float] | None, sigmas: Sequence[float] | None
) -> grids.Grid:
    """The grid of a list of times, or of sigmas."""
    if times is not None and not isinstance(schedule, Flow):
        return grids.Times(tuple(map(float, times)))
    listed = (
        [float(time) / THOUSAND for time in times] if times is not None else list(map(float, sigmas or ()))
    )
    listed = listed[:-1] if listed and listed[-1] == 0.0 else listed
    if isinstance(schedule, Flow):
        listed = [schedule.shift * _flow_ratio(sigma) for sigma in listed]
    return grids.Ratios(tuple(listed))


def _flow_ratio(sigma: float) -> float:
    """Sigma / alpha on a straight line; infinite at 1."""
    return sigma / (1.0 - sigma) if sigma != 1.0 else math.inf


def _on(parts: Scheduler, grid: grids.Grid) -> Scheduler:
    if isinstance(parts, Preset):
        raise InputError("a preset has its own levels; leave compat out to give others.")
    return replace(parts, grid=grid)
