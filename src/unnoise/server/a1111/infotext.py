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


def told(text: str, picture: bool, cards: Sequence[Card], notes: list[str]) -> dict[str, object]:
    """The fields, `override_settings` among them. picture: whether the request begins from one.

    What is not taken over is noted. Raises InputError for settings that make no sense.
    """
    found = a1111.read(text)
    fields: dict[str, object] = {
        "prompt": found.prompt,
        "negative_prompt": found.negative,
        "seed": found.seed,
        "steps": found.steps,
        "cfg_scale": found.guidance,
        "sampler_name": found.sampler or None,
        "scheduler": found.grid or None,
        "width": found.width,
        "height": found.height,
    }
    more = dict(found.more)
    fields["override_settings"] = _settings(found, more, cards, notes)
    fields |= _more(more, picture)
    notes += [f"infotext: {name} is not taken over" for name in more]
    return {name: value for name, value in fields.items() if value is not None}


def _settings(
    found: FoundRecipe, more: dict[str, str], cards: Sequence[Card], notes: list[str]
) -> dict[str, object]:
    """Those of the web UI that the text tells. more: loses what is taken."""
    made: dict[str, object] = {}
    if found.program == "unnoise":
        made[NOISE] = {"torch": "CPU", "cuda": "NV"}.get(found.noise, OWN)
    elif found.noise == "torch":  # the card's is what such pictures begin from anyway
        made[NOISE] = "CPU"
    if (skip := whole(more.get("Clip skip"))) is not None:
        made[CLIP_SKIP] = skip
        del more["Clip skip"]
    card = of_recipe(cards, found.model, found.model_hash)
    if card is not None:
        made[CHECKPOINT] = card.name
    elif found.model or found.model_hash:
        name = " ".join(filter(None, (found.model, found.model_hash and f"(hash {found.model_hash})")))
        notes.append(f"infotext: its model {name} is not served here; another is used")
    return made


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
