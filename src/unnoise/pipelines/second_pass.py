"""A larger picture in two passes: made at the model's own size, enlarged, and made again from there (hires fix)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional as F

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.limits import choice, number, whole
from unnoise.networks.hardware import inference
from unnoise.pipelines.adapting import Adaptable
from unnoise.pipelines.canvas import resized
from unnoise.pipelines.denoising import Denoising, Result, Step, called, finish
from unnoise.pipelines.given import Given
from unnoise.pipelines.latents import decode, encode
from unnoise.pipelines.options import Options, check_kind
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.request import SIDE, STEPS, Request, check, near_size
from unnoise.pipelines.strength import entered
from unnoise.schedulers import Plan

if TYPE_CHECKING:
    from typing_extensions import Unpack

WAYS = ("latents", "pixels")
SCALE = 8.0
SECOND_STRENGTH = 0.7


class TwoPasses(Iterator[Step]):
    """Both passes as one run: an iterator of the steps of both; see `Denoising`."""

    def __init__(
        self, model: Model, first: Denoising, request: Request, plan: Plan, way: str, record: dict[str, Any]
    ) -> None:
        self.request = first.request
        self._model, self._first, self._second_request = model, first, request
        self._plan, self._way, self._record = plan, way, record
        self._second: Denoising | None = None

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """What makes each picture again; its size is the first pass's, as in A1111."""
        return tuple(replace(recipe, **self._record) for recipe in self._first.recipes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on the prompts."""
        return self._first.notes

    def __len__(self) -> int:
        return len(self._first) + len(self._plan)

    def __next__(self) -> Step:
        if self._second is None:
            step = next(self._first, None)
            if step is not None:
                return step
            self._second = self._begin_second()
        step = next(self._second)
        step.index += len(self._first)
        return step

    def result(self, tiled: bool | None = None) -> Result:
        """The pictures, after the steps that are left."""
        finish(self)
        assert self._second is not None
        return replace(self._second.result(tiled), recipes=self.recipes, notes=self.notes)

    def _begin_second(self) -> Denoising:
        request, model = self._second_request, self._model
        size = request.height, request.width
        with inference(model.device):
            clean = enlarged(model, self._first.samples(), size, self._way)
        strength = self._record["strength"]
        past = len(self._first)
        given = Given(clean=clean, from_noise=strength == 1.0, purpose="second pass", past=past)
        return Denoising(model, request, self._plan, given)


def enlarged(model: Model, samples: Tensor, size: tuple[int, int], way: str) -> Tensor:
    """Clean samples for pictures of a larger size: stretched as latents (bilinear) or decoded, as pixels (bicubic)."""
    if way == "pixels":
        return encode(model, resized(decode(model, samples), size))
    sides = (size[0] // model.factor, size[1] // model.factor)
    return F.interpolate(samples.float(), sides, mode="bilinear")


class SecondPass(Adaptable):
    """A model that makes larger pictures than it was trained on, without their usual doubled figures."""

    def denoise(
        self,
        prompt: str | Sequence[str] = "",
        *,
        scale: float = 2.0,
        enlarge: str = "latents",
        strength: float = SECOND_STRENGTH,
        second_steps: int | None = None,
        **options: Unpack[Options],
    ) -> TwoPasses:
        """A run to pictures `scale` times as wide and high as width and height say: an iterator of both passes' steps.

        enlarge: "latents", quick, needs a strength above 0.5; or "pixels", by decoding in between. strength: share of
        the second pass's steps that is made. second_steps: as many as the first's when None. Other arguments as of
        `TextToImage`. Raises InputError.
        """
        model = self.model
        check_kind(model, "text")
        scale = number("scale", scale, 1.0, SCALE, 2.0)
        choice("enlarge", enlarge, WAYS)
        request = check(model, prompt, **options)
        steps = request.steps if second_steps is None else whole("second_steps", second_steps, 1, STEPS, 20)
        if (longest := max(request.height, request.width)) * scale > SIDE:
            raise InputError(
                f"scale is {scale:g}, and {longest} pixels become more than {SIDE}; give at most {SIDE / longest:g}."
            )
        height, width = near_size(model, (round(request.height * scale), round(request.width * scale)))
        plan, told = entered(
            replace(request, steps=steps), model.schedule, strength, None, SECOND_STRENGTH, second=True
        )
        first = Denoising(model, request, request.scheduler.plan(model.schedule, request.steps))
        record = {
            "variant": "second pass",
            "hires_scale": scale,
            "hires_steps": steps,
            "hires_in": enlarge,
            **told,
        }
        larger = replace(request, width=width, height=height, steps=steps, latents=None)
        return TwoPasses(model, first, larger, plan, enlarge, record)

    __call__ = called(denoise)
