"""A recipe of ours as arguments of a pipeline, and what of it is not as it was."""

from __future__ import annotations

from typing import Any

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.pipelines.caching import FeatureCache
from unnoise.pipelines.combining import from_text
from unnoise.pipelines.merging import TokenMerging
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.recipe_adapters import wanted_of
from unnoise.pipelines.repeat_loras import Looked, look, without_tags
from unnoise.pipelines.repeat_parts import Folders, Parts
from unnoise.pipelines.repeat_parts import look as look_parts
from unnoise.schedulers import Scheduler, names

_TAKEN = (
    "prompt",
    "negative",
    "seed",
    "steps",
    "scheduler",
    "compat",
    "noise",
    "width",
    "height",
    "prompt_style",
)


def options_of(recipe: Recipe, model: Model) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments that every pipeline has, and notes."""
    told = {
        name: value for name, value in recipe.to_dict().items() if name in _TAKEN and not _silent(name, value)
    }
    told["guidance"] = (
        from_text(recipe.guidance, recipe.guidance_rule) if recipe.guidance_rule else recipe.guidance
    )
    if recipe.variation:
        told["variation"] = recipe.variation_seed, recipe.variation
    if recipe.cache:
        told["cache"] = FeatureCache.from_text(recipe.cache)
    if recipe.merge:
        told["merge"] = TokenMerging.from_text(recipe.merge)
    notes = []
    if "scheduler" in told and scheduler_of(told["scheduler"], told.get("compat")) is None:
        notes.append(f"its scheduler, {told.pop('scheduler')}, has no name; the model's default is used")
    if recipe.own_noise:
        notes.append("it was started from noise that was given, which a recipe does not hold")
    if recipe.model_hash != model.fingerprint():
        notes.append(other_model(recipe.model, recipe.model_hash, model))
    notes += other_arithmetic(recipe.arithmetic, model)
    return told, tuple(notes)


def _silent(name: str, value: object) -> bool:
    """Whether a field of a recipe says nothing: no text but for the prompts, no size."""
    return (value == "" and name not in ("prompt", "negative")) or (
        name in ("width", "height") and value == 0
    )


def adapters_of(recipe: Recipe, model: Model, folders: Folders) -> tuple[Looked, Parts, str]:
    """Its LoRAs; its words and ControlNets; and its prompt without the tags of LoRAs that are missing."""
    wanted, others = wanted_of(recipe.adapters)
    looked = look(wanted, model, folders.loras)
    prompt = without_tags(recipe.prompt, recipe.prompt_style, looked.missing)
    return looked, look_parts(others, model, folders), prompt


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
