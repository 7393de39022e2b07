"""A recipe of ours as arguments of a pipeline, and what of it is not as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.pipelines.caching import FeatureCache
from unnoise.pipelines.combining import from_text
from unnoise.pipelines.merging import TokenMerging
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.recipe_adapters import Wanted, asked_by, wanted_of
from unnoise.pipelines.repeat_variant import arguments_of
from unnoise.schedulers import Scheduler, names

_ALWAYS = ("prompt", "negative", "seed", "steps")
_IF_TOLD = ("scheduler", "compat", "noise", "width", "height", "prompt_style")


@dataclass(frozen=True)
class Read:
    """What a picture says of itself, as arguments, before what it was made with is looked up.

    options, variant, arguments, clip_skip: as `Repeat` has them. loras, others: to be looked up, as `wanted_of` gives
    them. asked: names of the LoRAs that its prompt asks for. notes, more: what is not honoured, a sentence each, to be
    told before and after that of parts.
    """

    options: dict[str, Any]
    variant: str
    arguments: dict[str, Any]
    clip_skip: int
    loras: list[Wanted]
    others: list[str]
    asked: frozenset[str]
    notes: tuple[str, ...]
    more: tuple[str, ...]


def read(recipe: Recipe, model: Model) -> Read:
    """What a recipe of ours says. Raises InputError for one that makes no sense."""
    options, notes = _options(recipe, model)
    loras, others = wanted_of(recipe.adapters)
    skip, skipped = clip_skip_of(recipe.clip_skip, model)
    return Read(
        options=options,
        variant=recipe.variant,
        arguments=arguments_of(recipe),
        clip_skip=skip,
        loras=loras,
        others=others,
        asked=asked_by(recipe.prompt, recipe.prompt_style),
        notes=notes,
        more=skipped,
    )


def options_of(recipe: Recipe) -> dict[str, Any]:
    """The arguments that every pipeline has."""
    told = {name: getattr(recipe, name) for name in _ALWAYS}
    told |= {name: value for name in _IF_TOLD if (value := getattr(recipe, name))}
    told["guidance"] = (
        from_text(recipe.guidance, recipe.guidance_rule) if recipe.guidance_rule else recipe.guidance
    )
    if recipe.variation:
        told["variation"] = recipe.variation_seed, recipe.variation
    if recipe.cache:
        told["cache"] = FeatureCache.from_text(recipe.cache)
    if recipe.merge:
        told["merge"] = TokenMerging.from_text(recipe.merge)
    return told


def _options(recipe: Recipe, model: Model) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The same as far as it can be done here, and notes."""
    told, notes = options_of(recipe), []
    if "scheduler" in told and scheduler_of(told["scheduler"], told.get("compat")) is None:
        notes.append(f"its scheduler, {told.pop('scheduler')}, has no name; the model's default is used")
        told.pop("compat", None)  # the values of a program are those of its own schedulers
    if recipe.own_noise:
        notes.append("it was started from noise that was given, which a recipe does not hold")
    if recipe.model_hash != model.fingerprint():
        notes.append(other_model(recipe.model, recipe.model_hash, model))
    notes += other_arithmetic(recipe.arithmetic, model)
    return told, tuple(notes)


def clip_skip_of(skip: int, model: Model) -> tuple[int, tuple[str, ...]]:
    """The clip skip to be set, where the model can and has another; and a note where it cannot."""
    if skip == model.clip_skip or not skip:
        return 0, ()
    try:
        model.with_clip_skip(skip)
    except InputError as error:
        return 0, (f"clip skip {skip} is not applied: {error}".rstrip("."),)
    return skip, ()


def scheduler_of(name: str, compat: str | None) -> Scheduler | None:
    """The scheduler of this name; None where there is none."""
    try:
        return names.get(name, compat)
    except InputError:
        return None


def other_model(name: str, digest: str, model: Model) -> str:
    """That the picture is of another model."""
    ours = model.fingerprint()[:10] or "none"
    return f"the picture's model is {named(name)} (hash {digest[:10] or 'none'}), not '{model.name}' (hash {ours})"


def other_arithmetic(told: str, model: Model) -> tuple[str, ...]:
    """A sentence where the picture's network multiplied in floats and this one does not, or the other way round."""
    if told == model.arithmetic:
        return ()
    theirs, ours = told or "floats", model.arithmetic or "floats"
    other = f"engine 'openvino-{told}'" if told else "engine 'torch'"
    return (f"its network was computed in {theirs}, and is here in {ours}; for the same, use {other}",)


def named(name: str) -> str:
    """A model's name in quotes; older programs tell none."""
    return f"'{name}'" if name else "unnamed"
