"""What is asked of a pipeline, checked as a whole before anything is computed."""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.limits import choice, counted, is_whole, number, shown, typed, whole
from unnoise.pipelines.caching import FeatureCache
from unnoise.pipelines.combining import Guidance, Scale, to_text
from unnoise.pipelines.merging import TokenMerging
from unnoise.pipelines.prompting import check_loras
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.recipe_adapters import told_of
from unnoise.pipelines.start_noise import STARTS
from unnoise.schedulers import Scheduler, ToTolerance, names, tuned
from unnoise.schedulers.adaptive import check_alone
from unnoise.text import Prompt

STEPS, COUNT, SIDE, GUIDANCE = 1000, 256, 4096, 100.0
"""The most that one call takes: steps, pictures, pixels a side, guidance."""


@dataclass(frozen=True, eq=False)
class Request:
    """A checked request: one entry of prompts, negatives and seeds for each picture.

    guidance: the scale of `rule`. said, unsaid: the prompts and the negative prompts as they were read in
    `prompt_style`. clip_skip: as `Model.with_clip_skip` takes it; None leaves it as the model has it. cache: of deep
    features; None computes all at every look. merge: of tokens; None merges none. variation: how far the
    start is moved to the noise of the seeds `variations`. show_every: after how many steps each a look is displayed
    while the result is made; None displays none.
    """

    prompts: tuple[str, ...]
    negatives: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    guidance: float
    scheduler: Scheduler
    scheduler_name: str
    compat: str
    noise: str
    width: int
    height: int
    latents: Tensor | None
    prompt_style: str
    clip_skip: int | None
    said: tuple[Prompt, ...]
    unsaid: tuple[Prompt, ...]
    rule: Guidance
    cache: FeatureCache | None = None
    merge: TokenMerging | None = None
    variations: tuple[int, ...] = ()
    variation: float = 0.0
    show_every: int | None = None

    def recipes(self, model: Model) -> tuple[Recipe, ...]:
        """The recipe of each picture."""
        pictures, ours = len(self.prompts), version("unnoise")
        return tuple(
            Recipe(
                prompt=prompt,
                negative=negative,
                seed=seed,
                steps=self.steps,
                guidance=self.guidance,
                scheduler=self.scheduler_name,
                compat=self.compat,
                noise=self.noise,
                width=self.width,
                height=self.height,
                model=model.name,
                model_hash=model.fingerprint(),
                own_noise=self.latents is not None,
                adapters=told_of(model, f"{prompt}\n{negative}"),
                clip_skip=model.clip_skip,
                prompt_style=self.prompt_style,
                guidance_rule=to_text(self.rule),
                cache="" if self.cache is None else self.cache.to_text(),
                arithmetic=model.arithmetic,
                merge="" if self.merge is None else self.merge.to_text(),
                version=ours,
                variation_seed=other,
                variation=self.variation,
                batch=pictures if pictures > 1 else 0,
            )
            for prompt, negative, seed, other in zip(
                self.prompts, self.negatives, self.seeds, self.variations, strict=True
            )
        )


def check(
    model: Model,
    prompt: str | Sequence[str],
    picture: tuple[int, int] | None = None,
    /,
    *,
    negative: str | Sequence[str] = "",
    steps: int | None = None,
    guidance: float | Guidance | None = None,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    width: int | None = None,
    height: int | None = None,
    count: int = 1,
    scheduler: str | Scheduler | None = None,
    compat: str | None = None,
    noise: str | None = None,
    latents: Tensor | None = None,
    prompt_style: str = "a1111",
    clip_skip: int | None = None,
    cache: float | str | FeatureCache | None = None,
    merge: float | str | TokenMerging | None = None,
    variation: tuple[int, float] | None = None,
    show_every: int | None = None,
) -> Request:
    """The request that these arguments of `TextToImage.denoise` make; None takes the model's default.

    picture: height and width of one, whose nearest size is made where none is asked for.
    Raises InputError, naming the argument, its value and a way to mend it.
    """
    defaults = model.defaults
    whole("count", count, 1, COUNT, 4)
    prompts = [text for text in _texts("prompt", prompt) for _ in range(count)]
    whole("the number of pictures", len(prompts), 1, COUNT, 4)
    negatives = _negatives(negative, len(prompts), count)
    asked = defaults.scheduler if scheduler is None else scheduler
    plain = names.get(asked)
    if isinstance(plain, ToTolerance):
        check_alone(len(prompts))
    usual = plain.steps or defaults.steps
    rule = guidance if isinstance(guidance, Guidance) else Scale(_guidance(model, guidance))
    others, share = _variation(variation, len(prompts), latents)
    alike = len(prompts) if share and seeds is None else 1  # pictures of one seed
    if picture is not None and (width is None or height is None):
        near = near_size(model, picture)
        height, width = near[0] if height is None else height, near[1] if width is None else width
    request = Request(
        prompts=tuple(prompts),
        negatives=negatives,
        seeds=_seeds(seed, seeds, len(prompts) // alike) * alike,
        steps=whole("steps", usual if steps is None else steps, 1, STEPS, 20),
        guidance=_guidance(model, rule.scale),
        scheduler=plain if compat is None else names.get(asked, compat),
        scheduler_name=_shown_name(asked, plain),
        compat=compat or "",
        noise=_noise(noise, latents),
        width=_side(model, "width", width, model.shape[2] * model.factor),
        height=_side(model, "height", height, model.shape[1] * model.factor),
        latents=latents,
        prompt_style=prompt_style,
        clip_skip=_clip_skip(model, clip_skip),
        said=_read(prompts, prompt_style),
        unsaid=_read(negatives, prompt_style, negative=True),
        rule=rule,
        cache=FeatureCache.of(cache),
        merge=TokenMerging.of(merge),
        variations=others,
        variation=share,
        show_every=None if show_every is None else whole("show_every", show_every, 1, STEPS, 50),
    )
    _check_words(model, request)
    check_loras(request.said, model)
    _check_latents(request, model)
    return request


def _shown_name(asked: str | Scheduler, scheduler: Scheduler) -> str:
    """The name under which `scheduler` is listed, whatever spelling it was asked by; a file's; else its parts."""
    if isinstance(asked, str) and asked.startswith(tuned.PREFIX):
        return asked
    return _listed().get(scheduler, repr(scheduler))


@functools.lru_cache(maxsize=1)
def _listed() -> dict[Scheduler, str]:
    """The names of all schedulers on all grids: a thousand look-ups, for which no request should wait again."""
    rows = names.table()
    known = {row.scheduler: row.name for row in reversed(rows)}
    for grid in names.grid_names():
        for row in rows:
            known.setdefault(names.get(f"{row.name} {grid}"), f"{row.name} {grid}")
    return known


def _texts(name: str, value: str | Sequence[str]) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{name} is {shown(value)}; give a text, or a list of at least one.")
    return list(texts)


def _read(texts: Sequence[str], style: str, negative: bool = False) -> tuple[Prompt, ...]:
    """Each text as a Prompt; equal ones are read once."""
    known = {text: Prompt.read(text, style, negative) for text in dict.fromkeys(texts)}
    return tuple(known[text] for text in texts)


def _negatives(negative: str | Sequence[str], pictures: int, count: int) -> tuple[str, ...]:
    texts = _texts("negative", negative)
    each = texts * pictures if len(texts) == 1 else [text for text in texts for _ in range(count)]
    if len(each) != pictures:
        raise InputError(f"{len(texts)} negative prompts are given; give one, or one for each prompt.")
    return tuple(each)


def _seeds(seed: int | None, seeds: Sequence[int] | None, pictures: int) -> tuple[int, ...]:
    if seeds is None:
        return _counted("seed", secrets.randbelow(2**32) if seed is None else seed, pictures)
    if seed is not None:
        raise InputError(f"seed is {shown(seed)} and seeds is {shown(seeds)}; give one of the two.")
    several = typed("seeds", seeds, tuple[Any, ...], "1,2")
    if len(several) != pictures:
        raise InputError(f"seeds is {shown(seeds)}; give {counted(pictures, 'whole number')}, one a picture.")
    return tuple(_seed("seeds", each) for each in several)


def _variation(
    asked: tuple[int, float] | None, pictures: int, latents: Tensor | None
) -> tuple[tuple[int, ...], float]:
    """The other seed of each picture, and its share."""
    if asked is None:
        return (0,) * pictures, 0.0
    if not isinstance(asked, Sequence) or len(asked) != 2:
        raise InputError(f"variation is {shown(asked)}; give a seed and a share, for example (7, 0.1).")
    if latents is not None:
        raise InputError(f"variation is {shown(asked)}, and latents are given too; give one of the two.")
    others, share = _counted("variation", asked[0], pictures), number("variation", asked[1], 0.0, 1.0, 0.1)
    # at 0 it is the picture without one, and so is its recipe
    return (others if share else (0,) * pictures), share


def _counted(name: str, first: object, pictures: int) -> tuple[int, ...]:
    start = _seed(name, first)
    _seed(name, start + pictures - 1)
    return tuple(start + place for place in range(pictures))


def _seed(name: str, value: object) -> int:
    if not is_whole(value, 0, 2**63 - 1):
        raise InputError(
            f"{name} holds {shown(value)}; give whole numbers from 0 to 2**63 - 1, for example 7."
        )
    return int(value)  # type: ignore[call-overload,no-any-return]


def _guidance(model: Model, guidance: float | None) -> float:
    if guidance is None:
        return float(model.defaults.guidance) if model.text_encoder is not None else 1.0
    asked = number("guidance", guidance, 0.0, GUIDANCE, 2.0)
    if asked != 1.0 and model.text_encoder is None:
        raise InputError(
            f"guidance is {shown(guidance)}, but this model heeds no prompt; leave guidance out."
        )
    return asked


def _side(model: Model, name: str, value: int | None, default: int) -> int:
    return default if value is None else side(name, value, model.unit)


def side(name: str, value: int, unit: int) -> int:
    """A width or a height, when a model makes it whose pictures have multiples of `unit` pixels; else InputError."""
    value = whole(name, value, 1, SIDE, 64 * unit)
    if value % unit:
        below, above = value // unit * unit, -(-value // unit) * unit
        nearest = f"{below} and {above}" if below else str(above)
        raise InputError(
            f"{name} is {value}; this model makes multiples of {unit}, the nearest are {nearest}."
        )
    return value


def near_size(model: Model, size: tuple[int, int]) -> tuple[int, int]:
    """The nearest height and width that the model makes, at least one unit each. Raises InputError for too large."""
    if max(size) > SIDE:
        raise InputError(
            f"the picture is {size[1]}x{size[0]}, and at most {SIDE} pixels a side are made; give width and height "
            "(--size WxH), or a smaller picture."
        )
    height, width = (max(1, math.floor(each / model.unit + 0.5)) * model.unit for each in size)
    return height, width


def _check_words(model: Model, request: Request) -> None:
    if model.text_encoder is None and any((*request.prompts, *request.negatives)):
        raise InputError("this model heeds no prompt: it was trained without captions. Give the prompt ''.")


def _clip_skip(model: Model, skip: int | None) -> int | None:
    if skip is None:
        return None
    model.with_clip_skip(skip)  # refuses a layer that is not there
    return int(skip)


def _noise(noise: str | None, latents: Tensor | None) -> str:
    if noise is None:
        return ""
    choice("noise", noise, STARTS, ", or leave it out")
    if latents is not None:
        raise InputError(f"noise is {noise!r}, and latents are given too; give one of the two.")
    return noise


def _check_latents(request: Request, model: Model) -> None:
    sides = request.height // model.factor, request.width // model.factor
    latents, shape = request.latents, (len(request.prompts), model.shape[0], *sides)
    if latents is None:
        return
    if not isinstance(latents, Tensor) or tuple(latents.shape) != shape:
        given = list(latents.shape) if isinstance(latents, Tensor) else type(latents).__name__
        raise InputError(f"latents is {given}; give unit noise of shape {list(shape)}.")
    if not bool(torch.isfinite(latents).all()):
        raise InputError(
            "latents holds numbers that are not finite; give unit noise, such as torch.randn makes."
        )
