"""What a picture says of itself, as fields of a request."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError, UnnoiseError
from unnoise.pipelines import Guidance, Interval, Repeat, Rescaled, Scale
from unnoise.pipelines.recipe import written_in
from unnoise.pipelines.recipe_adapters import asked_by
from unnoise.pipelines.repeat_own import other_model
from unnoise.pipelines.repeat_parts import Folders
from unnoise.pipelines.repeat_variant import SECOND
from unnoise.schedulers import tuned
from unnoise.server.card import Card, of_recipe
from unnoise.server.fields import FIELDS, NOISE_LEVEL


def read(
    picture: bytes, model: Model, cards: tuple[Card, ...], loras: Path | None
) -> tuple[dict[str, object], tuple[str, ...]]:
    """The fields that ask for this picture again, and what of it cannot be honoured, a sentence each.

    model: the one in memory. loras: the folder of LoRAs. Raises InputError for a picture that says nothing of itself,
    or what makes no sense.
    """
    with tempfile.TemporaryDirectory() as empty:
        try:
            found = written_in("the picture", picture)
            repeat = Repeat.of_found(found, model, Folders(loras or empty, empty, empty))
        except UnnoiseError as error:
            raise InputError(str(error)) from error
        fields, notes = _fields(repeat)
        for folder in (loras, empty):  # where they are is the owner's business
            notes = tuple(note.replace(f"in '{folder}'", "here") for note in notes)
    _check_numbers(fields)
    card = of_recipe(cards, found.model, found.model_hash)
    if card is None:
        return fields, notes
    untrue = other_model(found.model, found.model_hash, model)
    return fields | {"model": card.name}, tuple(note for note in notes if note != untrue)


def _fields(repeat: Repeat) -> tuple[dict[str, object], tuple[str, ...]]:
    options, notes = dict(repeat.options), list(repeat.notes)
    if str(options.get("scheduler", "")).startswith(tuned.PREFIX):
        notes.append("its scheduler is in a file of its own; the model's default is used")
        del options["scheduler"]
    if options.get("cache") is not None:
        notes.append("it was made with a cache of deep features; none is used")
    if options.get("merge") is not None:
        notes.append("it was made with merged tokens; none are merged")
    fields = {name: options[name] for name, row in FIELDS.items() if row.common and name in options}
    fields |= _guidance(options.get("guidance"), notes)
    fields |= dict(_begun(repeat, notes))
    if repeat.clip_skip:
        fields["clip_skip"] = repeat.clip_skip
    fields["prompt"] = _with_tags(repeat, str(options["prompt"]), notes)
    return fields, tuple(dict.fromkeys(notes))


def _check_numbers(fields: Mapping[str, object]) -> None:
    """JSON has no word for an infinite one, which a recipe may hold. Raises InputError."""
    for name, value in fields.items():
        numbers = value if isinstance(value, list | tuple) else (value,)
        if not all(math.isfinite(one) for one in numbers if isinstance(one, float)):
            raise InputError(
                f"the settings in this picture make no sense: {name} is {value}. Give another picture."
            )


def _guidance(rule: object, notes: list[str]) -> dict[str, object]:
    fields: dict[str, object] = {}
    while isinstance(rule, Guidance) and not isinstance(rule, Scale):
        if isinstance(rule, Rescaled):
            fields["guidance_rescale"] = rule.share
        elif isinstance(rule, Interval):
            fields["guidance_interval"] = [rule.low, min(rule.high, NOISE_LEVEL)]
            if rule.high > NOISE_LEVEL:
                notes.append(
                    f"its guidance has no upper end; here it ends at a noise level of {NOISE_LEVEL:g}"
                )
        else:
            notes.append("its guidance was projected; plain guidance of the same scale is used")
            return fields | {"guidance": rule.scale}
        rule = rule.inner
    scale = rule.scale if isinstance(rule, Scale) else rule
    return fields if scale is None else fields | {"guidance": scale}


def _begun(repeat: Repeat, notes: list[str]) -> Iterator[tuple[str, object]]:
    arguments: Mapping[str, Any] = repeat.arguments
    for name, row in FIELDS.items():
        second = name.startswith("hires_")  # whose strength is the same argument
        if row.begun in arguments and second == (repeat.variant == SECOND):
            value = arguments[row.begun]
            yield name, list(value) if isinstance(value, tuple) else value
    if arguments.get("area") == "masked":
        yield "masked_area", True
    if arguments.get("paste") is False:
        notes.append("known places were not pasted back; they are")
    if repeat.variant not in ("", SECOND):
        wanted = "init and mask" if repeat.variant == "inpaint" and "outpaint" not in arguments else "init"
        notes.append(f"it was begun from another picture, which it does not hold; give {wanted}")


def _with_tags(repeat: Repeat, prompt: str, notes: list[str]) -> str:
    """The prompt with tags of the LoRAs that it does not ask for itself."""
    style = str(repeat.options.get("prompt_style") or "a1111")
    asked = asked_by(prompt, style)
    for lora in repeat.loras:
        name = lora.name or Path(lora.file).stem
        if name in asked:
            continue
        if style == "a1111" and not lora.blocks:
            prompt = f"{prompt} <lora:{name}:{lora.weight:g}>".strip()
        else:
            notes.append(f"LoRA '{name}' at {lora.weight:g} is not asked for")
    return prompt
