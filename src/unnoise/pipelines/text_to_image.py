"""From a prompt to pictures: text -> embedding, keyed noise -> the scheduler's steps -> pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from unnoise import checkpoints, images
from unnoise.checkpoints.model import Model
from unnoise.errors import NonFiniteError
from unnoise.images import Array
from unnoise.networks.hardware import fast_dtype
from unnoise.pipelines.adapting import Adaptable
from unnoise.pipelines.guidance import Condition, Guided
from unnoise.pipelines.latents import Look, decode
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.request import STEPS, Request, check, whole
from unnoise.pipelines.show import show
from unnoise.pipelines.steering import steered
from unnoise.process import Diffuser
from unnoise.randomness import NoiseSource
from unnoise.schedulers import Plan, Scheduler
from unnoise.schedulers import Step as SchedulerStep

SMALL = 20_000_000
"""Networks with fewer numbers than this stay in float32 on the CPU: moving and rounding them gains nothing."""


class Step(SchedulerStep):
    """A step that can be looked at; see `schedulers.Step`."""

    __slots__ = ("_run",)

    def __init__(self, made: SchedulerStep, run: Denoising) -> None:
        super().__init__(made.index, made.start, made.estimate, made.level, made.x)
        self._run = run

    def preview(self) -> Image.Image:
        """The picture as the network predicts it now (x0), not the noisy sample; a batch as one sheet.

        Of latents a linear look at their colours, in the picture's size but not its detail.
        """
        with torch.inference_mode():
            return images.grid(self._run.look(self.x0))


@dataclass(frozen=True, eq=False)
class Result:
    """What a call made, an entry for each picture.

    images: PIL. arrays: float32 (height, width, channels) in [0, 1], not rounded. recipes: what makes each
    again. notes: what a person should know of the prompts.
    """

    images: list[Image.Image]
    arrays: list[Array]
    recipes: tuple[Recipe, ...]
    notes: tuple[str, ...] = ()


class Denoising(Iterator[Step]):
    """One run: an iterator of its steps. `len` is their number, `result()` makes those that are left.

    request, recipes, notes are known before the first step. Leaving the iterator is how to cancel.
    """

    def __init__(self, model: Model, request: Request, plan: Plan) -> None:
        self.request = request
        self._model, self._plan = steered(model, plan, request.width, request.height), plan
        self._last: Step | None = None
        with torch.inference_mode():
            self._condition = self._embed()
            self._steps = plan.run(self._diffuser().estimate, self._start(), NoiseSource(request.seeds))

    @cached_property
    def recipes(self) -> tuple[Recipe, ...]:
        """What makes each picture again."""
        return self.request.recipes(self._model, version("unnoise"))

    @cached_property
    def look(self) -> Look:
        """What makes a quick picture of a sample; see `Step.preview`."""
        return Look(self._model)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on the prompts: text that did not fit, words that the model never saw."""
        return self._condition.notes

    def __len__(self) -> int:
        return len(self._plan)

    def __next__(self) -> Step:
        # here, not around the whole run: between two steps the caller's own code must not run in this mode
        with torch.inference_mode():
            made = next(self._steps)
            step = Step(made, self)
            self._check(step)
        self._last = step
        return step

    def result(self) -> Result:
        """The pictures, after the steps that are left."""
        for _ in self:
            pass
        assert self._last is not None
        with torch.inference_mode():
            arrays = images.to_arrays(decode(self._model, self._last.x))
        return Result([images.array_to_pil(array) for array in arrays], arrays, self.recipes, self.notes)

    def _embed(self) -> Condition:
        request = self.request
        unguided = request.guidance == 1.0
        size = request.height, request.width
        return Condition.of(self._model, request.prompts, () if unguided else request.negatives, size)

    def _diffuser(self) -> Diffuser:
        model = self._model
        guided = Guided(model.network, self._condition, self.request.guidance)
        return Diffuser(guided, model.schedule, model.prediction, model.variance, model.clip)

    def _start(self) -> Tensor:
        request, device = self.request, next(self._model.network.parameters()).device
        noise = request.latents
        if noise is None:
            sides = request.height // self._model.factor, request.width // self._model.factor
            shape = (len(request.seeds), self._model.shape[0], *sides)
            noise = NoiseSource(request.seeds)("start", like=torch.empty(shape))
        return self._plan.initial(noise.to(device, torch.float32))

    def _check(self, step: Step) -> None:
        if bool(torch.isfinite(step.x).all()):
            return
        exact = self._model.network.dtype == torch.float32
        mend = (
            "lower the guidance, or check the model" if exact else "load the model with dtype=torch.float32"
        )
        raise NonFiniteError(
            f"the network left the finite numbers at step {step.index + 1} of {len(self)} (sigma "
            f"{float(step.start.sigma):.4g}); no picture was made. One way on: {mend}."
        )


class TextToImage(Adaptable):
    """A model that makes pictures from prompts, in pixels or in the latents of its autoencoder.

    Nothing is kept between calls, so threads may share one. All arguments but the prompt are optional; the
    model's card has the defaults.
    """

    def __call__(
        self,
        prompt: str | Sequence[str] = "",
        *,
        negative: str | Sequence[str] = "",
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        width: int | None = None,
        height: int | None = None,
        count: int = 1,
        scheduler: str | Scheduler | None = None,
        compat: str | None = None,
        latents: Tensor | None = None,
        show_every: int | None = None,
    ) -> Result:
        """Pictures of a prompt, or of each prompt of a list.

        negative: what the picture should not be; one, or one for each prompt. guidance: how strongly the prompt
        is heeded, 0 to 100; 1 asks the network once, other values twice. seed: picture i of the call has seed
        + i, and is the same picture when asked for alone; random when None. seeds: one for each picture instead.
        width, height: in pixels. count: pictures of each prompt. scheduler: a name (`unnoise schedulers`) or a
        Scheduler. compat: "diffusers", "k-diffusion", "a1111" or "comfyui" for that program's values of a name.
        latents: unit noise to start from instead of the seed's: (pictures, channels, height,
        width), with an autoencoder of its latents.
        show_every: display the predicted picture after every so many steps and the last, in the notebook or
        the terminal.
        Raises InputError for an argument that makes no sense, NonFiniteError when the network leaves the
        finite numbers.
        """
        run = self.denoise(
            prompt,
            negative=negative,
            steps=steps,
            guidance=guidance,
            seed=seed,
            seeds=seeds,
            width=width,
            height=height,
            count=count,
            scheduler=scheduler,
            compat=compat,
            latents=latents,
        )
        if show_every is not None:
            whole("show_every", show_every, 1, STEPS)
            for step in run:
                done = step.index + 1
                if done % show_every == 0 or done == len(run):
                    show(step.preview(), f"step {done} of {len(run)}")
        return run.result()

    def denoise(
        self,
        prompt: str | Sequence[str] = "",
        *,
        negative: str | Sequence[str] = "",
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        seeds: Sequence[int] | None = None,
        width: int | None = None,
        height: int | None = None,
        count: int = 1,
        scheduler: str | Scheduler | None = None,
        compat: str | None = None,
        latents: Tensor | None = None,
    ) -> Denoising:
        """The same run step by step: an iterator of Step, each with `preview()`.

        Arguments as in a call; they are checked here, before the first step is asked for.
        """
        request = check(
            self.model,
            prompt,
            negative=negative,
            steps=steps,
            guidance=guidance,
            seed=seed,
            seeds=seeds,
            width=width,
            height=height,
            count=count,
            scheduler=scheduler,
            compat=compat,
            latents=latents,
        )
        return Denoising(self.model, request, request.scheduler.plan(self.model.schedule, request.steps))


def load(
    name_or_path: str | Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    prediction: str | None = None,
) -> TextToImage:
    """A pipeline from a shipped model's name, a model folder, a training run, or a Stable Diffusion checkpoint.

    The checkpoint is a diffusers folder, a .safetensors file, or a .ckpt that holds nothing but tensors. dtype,
    device: what suits the model's size and this machine when None. prediction: as `checkpoints.load` takes it.
    Raises InputError for an unknown name, CheckpointError for files that cannot be accounted for.
    """
    blueprint = checkpoints.recognise(name_or_path, prediction)
    if blueprint is not None:
        device, dtype = _suited(blueprint.parameters()["network"], device, dtype)
        return TextToImage(blueprint.load(dtype, device))
    model = checkpoints.load(name_or_path, prediction=prediction)
    count = sum(tensor.numel() for tensor in model.network.parameters())
    device, dtype = _suited(count, device, dtype)
    for module in (model.network, model.text_encoder):
        if module is not None:
            module.to(device=device, dtype=dtype)
    return TextToImage(model)


def _suited(
    parameters: int, device: torch.device | str | None, dtype: torch.dtype | None
) -> tuple[torch.device | str, torch.dtype]:
    """Where a network of that many numbers runs best, and in what."""
    small = parameters < SMALL
    if device is None:
        device = "cuda" if not small and torch.cuda.is_available() else "cpu"
    if dtype is None:
        dtype = torch.float32 if small else fast_dtype(device)
    return device, dtype
