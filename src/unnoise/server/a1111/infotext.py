"""What the field `infotext` tells: a text of generation parameters as the other fields of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from unnoise.checkpoints.recipes import FoundRecipe, a1111
from unnoise.checkpoints.recipes.found import number, whole
from unnoise.server.a1111.settings import CHECKPOINT, CLIP_SKIP, NOISE, OWN
from unnoise.server.card import Card, of_recipe

_SECOND = "Hires "
_MORE: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "Denoising strength": ("denoising_strength", number),
    "Image CFG scale": ("image_cfg_scale", number),
    "Variation seed": ("subseed", whole),
    "Variation seed strength": ("subseed_strength", number),
    "Hires upscale": ("hr_scale", number),
    "Hires upscaler": ("hr_upscaler", str),
    "Hires steps": ("hr_second_pass_steps", whole),
}
"""Setting of the text -> their field, and what reads it."""
_BESIDE = ("Batch size", "Batch pos")
"""Of what else was made with the picture."""


def told(
    text: str, picture: bool, cards: Sequence[Card], notes: list[str], given: Mapping[str, object]
) -> dict[str, object]:
    """The fields that are given, and what the text tells of the others. picture: whether the request begins from one.

    What it does not tell stays open, and what is not taken over is noted. Raises InputError for settings that make no
    sense.
    """
    found = a1111.read(text, usual={})
    more, own = dict(found.more), given.get("override_settings", {})
    fields = {
        "prompt": found.prompt,
        "negative_prompt": found.negative,
        "seed": found.seed,
        "steps": found.steps,
        "cfg_scale": found.guidance,
        "sampler_name": found.sampler or None,
        "scheduler": found.grid or None,
        "width": found.width,
        "height": found.height,
        **_more(more, picture),
        **given,
    }
    if isinstance(own, Mapping):  # anything else is refused where it is read
        settings = {**_noise(found), **_model(found, cards), **_clip_skip(more), **own}
        fields["override_settings"] = settings
        if (found.model or found.model_hash) and CHECKPOINT not in settings:
            model = f"{found.model[:80] or 'unnamed'} (hash {found.model_hash[:64] or 'none'})"
            notes.append(f"infotext: its model {model} is not served here; another is used")
    notes += [f"infotext: {name} is not taken over" for name in more if name not in _BESIDE]
    return {name: value for name, value in fields.items() if value is not None}


def _noise(found: FoundRecipe) -> dict[str, object]:
    if found.program == "unnoise":
        return {NOISE: {"torch": "CPU", "cuda": "NV"}.get(found.noise, OWN)}
    # the card's is what other pictures begin from anyway
    return {NOISE: "CPU"} if found.noise == "torch" else {}


def _model(found: FoundRecipe, cards: Sequence[Card]) -> dict[str, object]:
    card = of_recipe(cards, found.model, found.model_hash)
    return {} if card is None else {CHECKPOINT: card.name}


def _clip_skip(more: dict[str, str]) -> dict[str, object]:
    """more: loses what is taken."""
    skip = whole(more.get("Clip skip"))
    if skip is None:
        return {}
    del more["Clip skip"]
    return {CLIP_SKIP: skip}


def _more(more: dict[str, str], picture: bool) -> dict[str, object]:
    """Other fields. more: loses what is taken."""
    second = "Denoising strength" in more and not picture and any(name.startswith(_SECOND) for name in more)
    made: dict[str, object] = {"enable_hr": True} if second else {}
    for name, (field, read) in _MORE.items():
        value = read(more.get(name, ""))
        if value not in (None, "") and (second or not name.startswith(_SECOND)):
            made[field] = value
            del more[name]
    size = [whole(side) for side in more.get("Hires resize", "").split("x")]
    if second and len(size) == 2:
        made["hr_resize_x"], made["hr_resize_y"] = size
        del more["Hires resize"]
    return made
