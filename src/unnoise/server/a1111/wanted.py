"""What an A1111 request wants: its fields -> `Asked`, and the form of the answer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from unnoise.server import fields as read
from unnoise.server.a1111 import begun, infotext, unheeded
from unnoise.server.a1111.samplers import chosen
from unnoise.server.a1111.settings import Settings
from unnoise.server.asked import Asked
from unnoise.server.card import Card, named
from unnoise.server.limits import Limits
from unnoise.server.refusals import FieldError
from unnoise.server.renamed import in_their_words
from unnoise.server.shaping import Shaping

_PLAIN = {
    "prompt": "prompt",
    "negative_prompt": "negative",
    "seed": "seed",
    "steps": "steps",
    "cfg_scale": "guidance",
    "width": "width",
    "height": "height",
}
"""Their name -> ours, where the value is the same."""

THEIRS: Mapping[str, str] = {
    **{own: name for name, own in _PLAIN.items()},
    "count": "batch_size",
    "model": "override_settings",
    "clip_skip": "override_settings",
    "scheduler": "sampler_name",
    "variation": "subseed",
    "hires_scale": "hr_scale",
    "hires_steps": "hr_second_pass_steps",
    "hires_strength": "denoising_strength",
    "hires_in": "hr_upscaler",
    **begun.THEIRS,
}
"""Field of ours -> their name."""

_VARIATION = ("subseed", "subseed_strength")
_ANSWER = ("send_images", "force_task_id", "infotext")
_COUNTS = ("batch_size", "n_iter")
_SAMPLING = ("sampler_name", "scheduler", "override_settings")
_HIRES = ("enable_hr", "hr_scale", "hr_upscaler", "hr_second_pass_steps", "hr_resize_x", "hr_resize_y")
KNOWN = frozenset(
    (*_PLAIN, *_ANSWER, *_COUNTS, *_SAMPLING, *_HIRES, *_VARIATION, "denoising_strength", *begun.KNOWN)
)

_FAMILIES = "Stable Diffusion"
"""Models that the web UI makes pictures with too: those are made with its values (`compat`) and its start's noise."""

_LATENT = ("Latent", "latent")
_NEAR = ("Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)")
_PIXELS = ("None", "Lanczos", "Nearest")
_STRENGTH = 0.75
_LONGEST_ID = 100


@dataclass(frozen=True)
class Wanted:
    """What is asked, and how it is to be answered.

    parts: requests whose pictures make one answer: one, or where several pictures are begun from, one for each that is
    made. batch: pictures of one batch. send: whether pictures are sent. task: by which progress is asked for, "" for
    none. notes: what was not heeded, a sentence each. shaping: of the pictures that it begins from.
    """

    parts: tuple[Asked, ...]
    batch: int
    send: bool
    task: str
    notes: tuple[str, ...]
    shaping: Shaping | None = None


def wanted(
    given: Mapping[str, object],
    limits: Limits,
    cards: Sequence[Card],
    picture: bool = False,
    model: str | None = None,
) -> Wanted:
    """The request that these fields make. picture: whether it begins from one. model: where none is asked for.

    Raises FieldError, with their name of the field.
    """
    told = {name: value for name, value in given.items() if value is not None}
    notes: list[str] = []
    if "infotext" in told:
        text = read.text("infotext", told["infotext"], limits.body)
        told = infotext.told(text, picture, cards, notes, told)
    unheeded.check(told)
    settings = Settings.read(told.get("override_settings", {}), cards)
    ours: dict[str, object] = {own: told[name] for name, own in _PLAIN.items() if name in told}
    ours |= {"model": settings.model or model, "variation": _variation(told), "show_every": 1}
    card = named(cards, ours["model"])
    ours |= {**_sampling(told, card), **settings.asked}
    batch, runs = (read.whole(name, told.get(name, 1), 1, limits.count) for name in _COUNTS)
    inits = begun.pictures(told, batch) if picture else []
    batch = len(inits) if len(inits) > 1 else batch
    ours["count"] = batch * runs
    shaping = None
    if picture:
        more, shaping = begun.begun(told, card, notes)
        ours |= {"init": inits[0], **more}
    elif read.flag("enable_hr", told.get("enable_hr", False)):
        ours |= _second(told, notes)
    try:
        asked = Asked.read(ours, limits, cards)
    except FieldError as error:
        raise in_their_words(error, THEIRS) from error
    return Wanted(
        _parts(asked, inits, runs, limits),
        batch,
        read.flag("send_images", told.get("send_images", True)),
        read.text("force_task_id", told.get("force_task_id", ""), _LONGEST_ID),
        (*notes, *unheeded.notes(told, KNOWN, str(ours.get("scheduler", "")))),
        shaping and shaping.sized(asked),
    )


def _parts(asked: Asked, inits: Sequence[object], runs: int, limits: Limits) -> tuple[Asked, ...]:
    """Where several pictures are begun from, each one that is made is a request of its own."""
    if len(inits) < 2:
        return (asked,)
    if asked.seed in (None, -1):
        asked = replace(asked, seed=secrets.randbelow(2**32))
    pictures = [read.picture("init_images", one, limits.body_with_pictures) for one in inits]
    return tuple(replace(asked.alone(place), init=init) for place, init in enumerate(pictures * runs))


def _sampling(told: Mapping[str, object], card: Card | None) -> dict[str, object]:
    """Scheduler, whose values it has, and the noise of the start. card: of the model."""
    sampler, grid = _word(told, "sampler_name") or _word(told, "sampler_index"), _word(told, "scheduler")
    there = card is not None and card.family.startswith(_FAMILIES)
    if card is not None and (there or grid):
        sampler = sampler or card.scheduler
    noise: dict[str, object] = {"noise": "cuda" if there else None}
    if not sampler:
        return noise
    scheduler, compat = chosen(sampler, grid)
    return noise | {"scheduler": scheduler, "compat": compat if there else None}


def _word(told: Mapping[str, object], name: str) -> str:
    return read.text(name, told.get(name, ""), 200)


def _variation(told: Mapping[str, object]) -> list[float] | None:
    """The other seed, and its share; None where it changes nothing."""
    share = read.number("subseed_strength", told.get("subseed_strength", 0), 0, 1)
    seed = read.whole("subseed", told.get("subseed", -1), -1, read.SEED)
    return [secrets.randbelow(2**32) if seed == -1 else seed, share] if share else None


def _second(told: Mapping[str, object], notes: list[str]) -> dict[str, object]:
    """The fields of a second pass."""
    upscaler = _word(told, "hr_upscaler") or "Latent"
    if upscaler in _NEAR:
        notes.append(f"hr_upscaler {upscaler!r} is not known here; latents are enlarged as by 'Latent'")
    elif upscaler in _PIXELS:
        notes.append(f"hr_upscaler {upscaler!r}: pixels are enlarged bicubically here")
    elif upscaler not in _LATENT:
        raise read.refusal("hr_upscaler", upscaler, "'Latent', or 'Lanczos' for pixels")
    steps = read.whole("hr_second_pass_steps", told.get("hr_second_pass_steps", 0), 0, 1000)
    return {
        "hires_scale": _scale(told),
        "hires_steps": steps or None,
        "hires_strength": told.get("denoising_strength", _STRENGTH),
        "hires_in": "pixels" if upscaler in _PIXELS else "latents",
    }


def _scale(told: Mapping[str, object]) -> object:
    """How much larger the second pass is: told as such, or by the size that it is to have."""
    scales = set()
    for side, name in (("width", "hr_resize_x"), ("height", "hr_resize_y")):
        wanted_side = read.whole(name, told.get(name, 0), 0, 2**20)
        if wanted_side:
            scales.add(wanted_side / read.whole(side, told.get(side, 512), 1, 2**20))
    if len(scales) > 1:
        raise FieldError(
            "hr_resize_x", "hr_resize_x and hr_resize_y are of another aspect; give one of the two."
        )
    return scales.pop() if scales else told.get("hr_scale", 2.0)
