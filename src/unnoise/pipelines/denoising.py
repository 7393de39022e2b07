"""One run of a pipeline: its steps, what can be seen of them, and the pictures they lead to."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import torch
from PIL import Image
from torch import Tensor

from unnoise import images
from unnoise.checkpoints.model import Model
from unnoise.errors import InputError, NonFiniteError
from unnoise.images import Array
from unnoise.limits import choice
from unnoise.networks import heap
from unnoise.networks.hardware import inference, large_on_cpu
from unnoise.pipelines.caching import cached
from unnoise.pipelines.engines import engaged
from unnoise.pipelines.given import NOTHING, Given
from unnoise.pipelines.guidance import Condition
from unnoise.pipelines.latents import Look, decode
from unnoise.pipelines.merging import merged
from unnoise.pipelines.nonfinite import first_layer
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.request import Request
from unnoise.pipelines.show import show
from unnoise.pipelines.start_noise import mixed, start_noise
from unnoise.pipelines.steering import steered
from unnoise.pipelines.telling import Telling
from unnoise.process import Diffuser, Estimate, Level
from unnoise.schedulers import Plan
from unnoise.schedulers import Step as SchedulerStep
from unnoise.schedulers.plan import Walk, next_step

if TYPE_CHECKING:
    from unnoise.pipelines.second_pass import TwoPasses

P = ParamSpec("P")
Pipe = TypeVar("Pipe")
PREVIEWS = ("x0", "sample", "noise")


class Step(SchedulerStep):
    """A step that can be looked at; see `schedulers.Step`."""

    __slots__ = ("_look",)

    def __init__(self, made: SchedulerStep, look: Look) -> None:
        super().__init__(made.index, made.start, made.estimate, made.level, made.x)
        self._look = look

    def preview(self, of: str = "x0") -> Image.Image:
        """A look at the step; a batch as one sheet.

        of: "x0", the picture as the network predicts it now; "noise", the noise residual; "sample", the noisy sample x
        that the network saw at the level `start`, shown as x / sqrt(alpha^2 + sigma^2), whose spread is that of a
        picture at every level. So the three make one equation, x = alpha x0 + sigma noise. Of latents a linear look at
        their colours, in the picture's size but not its detail. Raises InputError for another word.
        """
        choice("of", of, PREVIEWS)
        with inference(self.x.device):
            return images.grid(self._look(self._seen(of)))

    def _seen(self, of: str) -> Tensor:
        if of == "x0":
            return self.x0
        if of == "noise":
            return self.noise
        return self.estimate.x / math.hypot(float(self.start.alpha), float(self.start.sigma))


@dataclass(frozen=True, eq=False)
class Result:
    """What a call made, an entry for each picture.

    images: PIL. arrays: float32 (height, width, channels) in [0, 1], not rounded. recipes: what makes each
    again. notes: what a person should know of the prompts.
    """

    images: list[Image.Image]
    arrays: list[Array] = field(repr=False)
    recipes: tuple[Recipe, ...]
    notes: tuple[str, ...] = ()


class Denoising(Iterator[Step]):
    """One run: an iterator of its steps. `len` is their number, `result()` makes those that are left.

    request, recipes, notes are known before the first step. Leaving the iterator is how to cancel. given: what it
    begins from beside noise. A model with a refiner hands over to it on the way.
    """

    def __init__(self, model: Model, request: Request, plan: Plan, given: Given = NOTHING) -> None:
        self.request = request
        if request.clip_skip is not None:
            model = model.with_clip_skip(request.clip_skip)
        merging, self._merging = merged(model, request.merge)
        running = steered(engaged(merging, request.cache), plan, request.width, request.height)
        self._model, self._caching = cached(running, request.cache)
        self._plan = plan
        self._given = given
        if large_on_cpu(self._model.network):
            heap.keep_freed()
        self._look = Look(self._model)
        self._last: Step | None = None
        self._made = 0  # not asked of the last step, whose index is its holder's: a second pass counts on
        self._calls = 0
        self._memory: list[Tensor] = []
        self._asked: tuple[Condition, Diffuser] | None = None
        self._turn, self._second = len(plan), None
        if model.refiner is not None:
            self._turn = model.refiner.turn(plan)
            self._second = Denoising(model.refiner.model, request, plan, given)
        with inference(self._model.device):
            guided = given.guided(request) or self._both
            self._telling = Telling(self._model, request, plan, guided, given.past)

    @cached_property
    def noise(self) -> Tensor:
        """The unit noise of the start. Drawn when it is asked for: the run of a refiner has no start."""
        request, noise = self.request, self.request.latents
        if noise is None:
            noise = self._drawn(request.seeds)
            if request.variation:
                noise = mixed(noise, self._drawn(request.variations), request.variation)
        return noise.to(self._model.device, torch.float32)

    def _drawn(self, seeds: tuple[int, ...]) -> Tensor:
        request, model = self.request, self._model
        shape = len(seeds), model.shape[0], request.height // model.factor, request.width // model.factor
        if request.noise:
            return start_noise(request.noise, seeds, shape)
        like = torch.empty(shape, dtype=torch.float32, device="cpu")
        return self._given.source(seeds)("start", like=like)

    @cached_property
    def _walk(self) -> Walk:
        # answered by `__next__`: a generator that asked this run would keep it, and so the model, in a circle
        begun = self._given.begin(self._plan, self.noise)
        return self._plan.walk(begun, self._given.source(self.request.seeds))

    @cached_property
    def recipes(self) -> tuple[Recipe, ...]:
        """What makes each picture again."""
        return tuple(replace(plain, **self._given.record) for plain in self.request.recipes(self._model))

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on the prompts: text that did not fit, words that the model never saw."""
        more = () if self._second is None else self._second.notes
        return tuple(dict.fromkeys((*self._telling.notes, *more, *self._given.notes)))

    def __len__(self) -> int:
        return len(self._plan)

    def __next__(self) -> Step:
        # here, not around the whole run: between two steps the caller's own code must not run in this mode
        with inference(self._model.device):
            made = next_step(self._walk, self._ask)
            if made is None:
                self._check_end()
                raise StopIteration
            step = Step(made, self._look)
            if step.index + 1 == len(self):
                step.x = self._given.end(step.x)
            self._check(step)
        self._last, self._made = step, self._made + 1
        return step

    def samples(self) -> Tensor:
        """The clean samples that the steps lead to, after those that are left: latents or pixels."""
        for _ in self:
            pass
        assert self._last is not None
        return self._last.x

    def estimate(self, x: Tensor, level: Level) -> Estimate:
        """The network as it is asked at the next step, with its prompts and guidance."""
        return self._estimate(self._made, self._calls, x, level)

    def _ask(self, x: Tensor, level: Level) -> Estimate:
        seen = self.estimate(x, level)
        self._calls += 1
        return seen

    def _estimate(self, made: int, calls: int, x: Tensor, level: Level) -> Estimate:
        """The same, after so many steps and network calls."""
        if self._second is not None and made >= self._turn:
            return self._second._estimate(made, calls, x, level)
        condition = self._telling.at(calls if self._telling.by_calls else made)
        told_anew = self._asked is None or self._asked[0] is not condition
        if self._asked is None or told_anew:
            self._asked = condition, self._diffuser(condition)
        if self._merging is not None:
            self._merging.look = calls
        if self._caching is not None:
            self._caching.look(level, told_anew)
        return self._given.estimate(self._asked[1], x, level)

    def result(self, tiled: bool | None = None) -> Result:
        """The pictures, after the steps that are left.

        tiled: whether latents are decoded in strips, the same numbers slower and in less memory; None: where memory
        would not suffice.
        """
        finish(self)
        samples = self.samples()
        with inference(self._model.device):
            arrays = images.to_arrays(self._given.pictures(decode(self._model, samples, tiled)))
        if large_on_cpu(self._model.network):
            heap.hand_back()
        return Result([images.array_to_pil(array) for array in arrays], arrays, self.recipes, self.notes)

    @property
    def _both(self) -> bool:
        """Whether the scheduler asks for the half without the prompt."""
        return self._plan.halves and self._model.text_encoder is not None

    def _diffuser(self, condition: Condition) -> Diffuser:
        model = self._model
        network = self._given.network(model, self.request, condition, self._memory, self._both)
        return Diffuser(network, model.schedule, model.prediction, model.variance, model.clip)

    def _check_end(self) -> None:
        """Raises InputError where fewer steps were made than there are: one of them was broken off."""
        if self._made < len(self):
            raise InputError(
                f"this run broke off at step {self._made + 1} of {len(self)} and cannot go on; begin another."
            )

    def _check(self, step: Step) -> None:
        if bool(torch.isfinite(step.x).all()):
            return
        exact = self._model.network.dtype == torch.float32
        mend = (
            "lower the guidance, or check the model" if exact else "load the model with dtype=torch.float32"
        )
        seen = step.estimate
        layer = first_layer(self._model.network, lambda: self.estimate(seen.x, seen.level))
        raise NonFiniteError(
            f"the network left the finite numbers at step {step.index + 1} of {len(self)} (sigma "
            f"{float(step.start.sigma):.4g}){layer}; no picture was made. One way on: {mend}."
        )


def finish(run: Denoising | TwoPasses) -> None:
    """Make the steps that are left, their predicted pictures displayed as the request's `show_every` says."""
    every = run.request.show_every
    for step in run:
        done = step.index + 1
        if every is not None and (done % every == 0 or done == len(run)):
            show(step.preview(), f"step {done} of {len(run)}")


def called(
    denoise: Callable[Concatenate[Pipe, P], Denoising | TwoPasses],
) -> Callable[Concatenate[Pipe, P], Result]:
    """`__call__` of a pipeline, which takes what its `denoise` takes: that run's result."""

    def call(pipe: Pipe, /, *given: P.args, **options: P.kwargs) -> Result:
        own: Any = pipe  # whose class may have a `denoise` of its own
        result: Result = own.denoise(*given, **options).result()
        return result

    about, _, arguments = (denoise.__doc__ or "").partition("\n\n")
    call.__doc__ = f"The `Result` of {about[0].lower()}{about[1:].partition(':')[0]}.\n\n{arguments}"
    call.__name__ = "__call__"
    vars(call)["__signature__"] = inspect.signature(denoise).replace(return_annotation="Result")
    return call
