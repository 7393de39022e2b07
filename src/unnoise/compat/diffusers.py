"""Our schedulers where diffusers' pipelines look for theirs: `pipe.scheduler = scheduler("DPM++ 2M Karras")`.

Nothing of diffusers is imported: a pipeline asks its scheduler for a few attributes and methods, which are here.
Samples keep the model's own scaling, so `scale_model_input` changes nothing where variance is preserved.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.process import EDM, DiscreteVP, Flow, Level, NoiseSchedule, Prediction
from unnoise.process import prediction as predictions
from unnoise.process.level import expand
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Plan, Scheduler, Stepper, StepperOutput, grids, names
from unnoise.schedulers.presets.preset import Preset

Generators = torch.Generator | Sequence[torch.Generator] | None

_WORDS = {"noise": "epsilon", "sample": "sample", "velocity": "v_prediction", "flow": "flow_prediction"}
_WORDS |= {"edm": "epsilon"}  # what the EDM classes call it


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
        found = names.from_config({"_class_name": _class(config), **config})
        schedule, prediction = schedule or found.schedule, prediction or found.prediction
    return DiffusersScheduler(
        names.get(name, compat, grid),
        schedule or DiscreteVP.scaled_linear(),
        predictions.get(prediction or "noise"),
    )


def _class(config: Mapping[str, Any]) -> str:
    """The class that a configuration without its name is of, as far as noise levels go."""
    if "sigma_data" in config:
        return "EDMEulerScheduler"
    return "FlowMatchEulerDiscreteScheduler" if "shift" in config else "DDIMScheduler"


def _told(schedule: NoiseSchedule) -> dict[str, Any]:
    """A noise schedule in diffusers' words, which its own classes and `scheduler` read too."""
    if isinstance(schedule, Flow):
        return {"num_train_timesteps": 1000, "shift": schedule.shift}
    if isinstance(schedule, EDM):
        ends = {"sigma_min": schedule.sigma_min, "sigma_max": schedule.sigma_max}
        return {"num_train_timesteps": 1000, "sigma_data": 0.5, **ends}
    if not isinstance(schedule, DiscreteVP):
        return {"num_train_timesteps": 1000}
    told: dict[str, Any] = {"num_train_timesteps": schedule.steps}
    if schedule.zero_terminal:
        told["rescale_betas_zero_snr"] = True
    if schedule.curve in ("table", "cosine"):
        kind = (
            {"trained_betas": list(schedule.table)}
            if schedule.table
            else {"beta_schedule": "squaredcos_cap_v2"}
        )
        return told | kind
    ends = {"beta_start": schedule.beta_start, "beta_end": schedule.beta_end}
    return told | {"beta_schedule": schedule.curve, **ends}


class Config(dict[str, Any]):
    """What pipelines read of a scheduler's configuration, by key or by attribute."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the values are of many kinds
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


class DiffusersScheduler:
    """A scheduler with the interface of diffusers'.

    Runs are kept apart by thread: what one thread sets with `set_timesteps` no other sees, so that threads may
    share one object. Within a thread the interface knows one run at a time; `set_timesteps` begins a new one.
    """

    def __init__(self, parts: Scheduler, schedule: NoiseSchedule, prediction: Prediction) -> None:
        self.parts = parts
        self.schedule = schedule
        self.prediction = prediction
        self.order = parts.solver.calls
        self.config = Config(
            **_told(schedule),
            prediction_type=_WORDS.get(prediction.name, prediction.name),
            steps_offset=1,  # pipelines warn about any other
            clip_sample=False,
            skip_prk_steps=True,
        )
        self._local = threading.local()

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Begin a run of so many steps, or through a list of times, or of sigmas (a last 0 is left out).

        Raises InputError unless exactly one of the three is given.
        """
        given = [value is not None for value in (num_inference_steps, timesteps, sigmas)]
        if sum(given) != 1:
            raise InputError(
                "set_timesteps takes one of num_inference_steps, timesteps and sigmas; give one."
            )
        parts, steps = self.parts, num_inference_steps
        if timesteps is not None:
            parts, steps = _on(parts, grids.Times(tuple(map(float, timesteps)))), len(timesteps)
        elif sigmas is not None:
            ratios = tuple(map(float, sigmas))
            ratios = ratios[:-1] if ratios and ratios[-1] == 0.0 else ratios
            parts, steps = _on(parts, grids.Ratios(ratios)), len(ratios)
        assert steps is not None
        self._local.run = _Run(parts, self.schedule, self.prediction, steps, device)

    @property
    def _run(self) -> _Run:
        run: _Run | None = getattr(self._local, "run", None)
        if run is None:
            raise InputError("this thread has no run; call set_timesteps(20) first.")
        return run

    @property
    def timesteps(self) -> Tensor:
        """What to tell the network, a number for each of its calls."""
        return self._run.timesteps

    @property
    def sigmas(self) -> Tensor:
        """Sigma / alpha of every level, the last 0, float32."""
        return torch.tensor([float(level.ratio) for level in self._run.plan.levels])

    @property
    def num_inference_steps(self) -> int:
        """Steps of the run."""
        return len(self._run.plan)

    @property
    def init_noise_sigma(self) -> float:
        """Factor of unit noise at the start."""
        run: _Run | None = getattr(self._local, "run", None)
        return 1.0 if run is None else run.whole.init_noise_sigma

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
        """Alpha x_0 + sigma eps at the times (batch,), or one time for all."""
        levels = [self._level(float(time)) for time in timesteps.reshape(-1)]
        alpha, sigma = (
            expand(torch.tensor([float(getattr(level, part)) for level in levels]), original_samples)
            for part in ("alpha", "sigma")
        )
        return alpha * original_samples + sigma * noise

    def _level(self, time: float) -> Level:
        """The run's level that is told this time; else the schedule's."""
        run: _Run | None = getattr(self._local, "run", None)
        if run is not None:
            near = min(run.looks, key=lambda pair: abs(pair[0] - time))
            if abs(near[0] - time) <= 1e-4 * max(1.0, abs(time)):
                return near[1]
        return self.schedule.level(
            min(max(time, self.schedule.clean_time), float(self.schedule.noisiest.time))
        )


class _Run:
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
        self.noise = _Drawn()
        self.whole: Stepper = self._stepper(self.plan)
        self.timesteps = self.whole.timesteps.to(device)
        self.looks = list(zip(self.whole.timesteps.tolist(), self.plan.looks, strict=True))
        self.begin: int | None = None
        self.stepper: Stepper | None = None

    def enter(self, call: int) -> None:
        """Begin at this call."""
        first, left = 0, call
        for planned in self.plan.steps:
            if left <= 0:
                break
            left -= sum(1 for move in planned.moves if hasattr(move, "level"))
            first += 1
        if left != 0:
            raise InputError(f"call {call} lies inside a step of several calls; begin at a step.")
        self.begin = call
        self.stepper = self.whole if first == 0 else self._stepper(self._from(first))

    def _stepper(self, plan: Plan) -> Stepper:
        return plan.stepper(self.prediction, cast("NoiseSource", self.noise))  # called the same way

    def _from(self, first: int) -> Plan:
        if isinstance(self.parts, Preset):
            return replace(self.parts, start=first).plan(self.schedule, self.steps)
        grid = grids.Slice(self.parts.grid, len(self.plan))
        return replace(self.parts, grid=grid).plan(self.schedule, len(self.plan) - first)

    def step(
        self, output: Tensor, time: Tensor | float, sample: Tensor, generator: Generators
    ) -> StepperOutput:
        """The next step; the first also finds where the run begins."""
        if self.stepper is None:
            times = self.whole.timesteps.tolist()
            self.enter(min(range(len(times)), key=lambda i: abs(times[i] - float(time))))
        assert self.stepper is not None
        self.noise.seeds, self.noise.generator = range(sample.shape[0]), generator
        return self.stepper.step(output, time, sample)


class _Drawn:
    """Noise from torch's generators, as diffusers draws it."""

    def __init__(self) -> None:
        self.seeds: Sequence[int] = ()
        self.generator: Generators = None

    def __call__(self, purpose: str, *position: int, like: Tensor) -> Tensor:
        """Standard normal numbers shaped as `like`."""
        if isinstance(self.generator, Sequence):
            if len(self.generator) == 1:
                return _normal(like, self.generator[0])
            if len(self.generator) != len(like):
                raise InputError(
                    f"{len(self.generator)} generators are given for {len(like)} samples; give one, or one for each."
                )
            parts = [_normal(like[i : i + 1], one) for i, one in enumerate(self.generator)]
            return torch.cat(parts)
        return _normal(like, self.generator)


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def _on(parts: Scheduler, grid: grids.Grid) -> Scheduler:
    if isinstance(parts, Preset):
        raise InputError("a preset has its own levels; leave compat out to give times or sigmas.")
    return replace(parts, grid=grid)
