"""A picture made again from what it says of itself, and what of that cannot be done here."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unnoise import images
from unnoise.checkpoints.model import Model
from unnoise.checkpoints.recipes import FoundRecipe, read_chunks
from unnoise.errors import FileError, InputError
from unnoise.pipelines.combining import from_text
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.text_to_image import TextToImage
from unnoise.process import DiscreteVP
from unnoise.schedulers import Scheduler, names

_COMPAT = {
    "A1111": "a1111",
    "Forge": "a1111",
    "SD.Next": "diffusers",
    "InvokeAI": "diffusers",
    "ComfyUI": "comfyui",
    "SwarmUI": "comfyui",
    "Fooocus": "comfyui",
    "NovelAI": "k-diffusion",
}
_FACTS = ("guidance_rule", "model", "model_hash", "own_noise", "version")
_LORA = re.compile(r"<lora:[^<>]{1,300}>")
# Settings that change nothing in the picture, or that are told under another name.
_SILENT = re.compile(
    r"(batch (size|pos)|.*hash(es)?|created date|civitai.*|operations|parser|backend|pipeline|app|user|performance|"
    r"lora networks|sampler spacing|template|negative template|full_.*|styles|created_by|sd_version|n_samples|"
    r"uncond_per_vibe|legacy.*|params_hash|title|software|date|generation_time|nopreviews|image_?format|"
    r"original_prompt|used_wildcards|aspectratio|canvas_v2_metadata|ref_images|controlnets|sampler type|"
    r"vae encoder|vae decoder|img2img_hash|seamless_.*)"
)


@dataclass(frozen=True)
class Repeat:
    """How to make a picture again: `pipe(**repeat.options)`.

    program: who made it. options: arguments of a pipeline's call. notes: what is not honoured, a sentence each. own:
    whether it is a picture of ours, whose recipe lacks nothing.
    """

    program: str
    options: Mapping[str, Any]
    notes: tuple[str, ...]
    own: bool

    @classmethod
    def of(cls, path: str | Path, model: Model) -> Repeat:
        """How `model` makes the picture in this file again.

        Raises FileError where it holds no recipe or too much text, InputError for a recipe that makes no sense.
        """
        text = images.read_text(Path(path))
        if "unnoise" in text:
            recipe = Recipe.from_json(text["unnoise"])
            options, notes = _own(recipe, model)
            return cls("unnoise", options, notes, True)
        found = read_chunks(text)
        if found is None:
            raise FileError(
                f"'{path}' holds no recipe; give a picture that unnoise, A1111, ComfyUI, InvokeAI or their kin wrote."
            )
        options, notes = _foreign(found, model)
        return cls(found.program, options, notes, False)


def _own(recipe: Recipe, model: Model) -> tuple[dict[str, Any], tuple[str, ...]]:
    taken = inspect.signature(TextToImage.denoise).parameters
    told = {name: value for name, value in recipe.to_dict().items() if not _silent(name, value)}
    options = {name: value for name, value in told.items() if name in taken}
    if recipe.guidance_rule:
        options["guidance"] = from_text(recipe.guidance, recipe.guidance_rule)
    plain = Recipe("").to_dict()
    left = [name for name in told if name not in (*taken, *_FACTS) and told[name] != plain[name]]
    notes = [f"its {name.replace('_', ' ')} is not repeated" for name in left]
    if "scheduler" in options and _scheduler(options["scheduler"], options.get("compat")) is None:
        notes.append(f"its scheduler, {options.pop('scheduler')}, has no name; the model's default is used")
    if recipe.own_noise:
        notes.append("it was started from noise that was given, which a recipe does not hold")
    if recipe.model_hash != model.fingerprint():
        notes.append(_other_model(recipe.model, recipe.model_hash, model))
    return options, tuple(notes)


def _silent(name: str, value: object) -> bool:
    """Whether a field of a recipe says nothing: no text but for the prompts, no size."""
    return (value == "" and name not in ("prompt", "negative")) or (
        name in ("width", "height") and value == 0
    )


def _foreign(found: FoundRecipe, model: Model) -> tuple[dict[str, Any], tuple[str, ...]]:
    chosen, notes = _sampling(found, model)
    options: dict[str, Any] = {
        "prompt": _LORA.sub("", found.prompt).strip() if found.loras else found.prompt,
        "negative": found.negative,
        "seed": None if found.seed is None else found.seed % 2**63,
        "steps": found.steps,
        "guidance": found.guidance,
        "width": found.width,
        "height": found.height,
        "noise": found.noise or None,
        **chosen,
    }
    notes += [*_model_notes(found, model), *_passes(found), *_parts(found, model), *_unread(found)]
    return {name: value for name, value in options.items() if value is not None}, tuple(notes)


def _scheduler(name: str, compat: str | None) -> Scheduler | None:
    try:
        return names.get(name, compat)
    except InputError:
        return None


def _sampling(found: FoundRecipe, model: Model) -> tuple[dict[str, Any], list[str]]:
    """The scheduler as near to the program's as can be, and what is not as there."""
    table = isinstance(
        model.schedule, DiscreteVP
    )  # other programs' values are of models with a table of betas
    compat = _COMPAT.get(found.program) if table else None
    whole = f"{found.sampler} {found.grid}".strip()
    tries = [(whole, compat, "")]
    if compat is not None:
        tries.append((whole, None, f"{compat} values of {whole} are not known here; the right ones are used"))
    if found.grid:
        tries.append(
            (found.sampler, compat, f"grid {found.grid} is not known for {found.sampler}; its own is used")
        )
    for name, program, note in tries:
        scheduler = _scheduler(name, program) if found.sampler else None
        if scheduler is not None:
            chosen = {"scheduler": name} | ({} if program is None else {"compat": program})
            return chosen, [*filter(None, [note]), *_noise(found, scheduler)]
    told = f"sampler {whole} is not known" if whole else "no sampler is told"
    return {}, [f"{told}; the model's default, {model.defaults.scheduler}, is used", *_noise(found, None)]


def _noise(found: FoundRecipe, scheduler: Scheduler | None) -> Iterator[str]:
    if not found.noise:
        yield f"how {found.program} draws the noise of the start is not known; ours is drawn"
    if scheduler is not None and scheduler.stochastic:
        delta = f" (and ENSD {found.more['ENSD']})" if "ENSD" in found.more else ""
        yield f"{found.sampler} draws noise at every step; that noise{delta} is ours, so the picture will differ"


def _model_notes(found: FoundRecipe, model: Model) -> Iterator[str]:
    given, ours = found.model_hash.lower(), model.fingerprint()
    if len(given) >= 10:
        if not ours.startswith(given[:64]):
            yield _other_model(found.model, given, model)
    elif given or found.model != model.name:
        why = f"its hash {given} is of the old kind, which says little" if given else "no hash of it is told"
        yield f"the picture's model is '{found.model}'; whether '{model.name}' is the same is not known ({why})"


def _other_model(name: str, digest: str, model: Model) -> str:
    ours = model.fingerprint()[:10] or "none"
    return f"the picture's model is '{name}' (hash {digest[:10] or 'none'}), not '{model.name}' (hash {ours})"


def _passes(found: FoundRecipe) -> Iterator[str]:
    """Passes beyond one from noise to the picture."""
    more = found.more
    strength = more.get("Denoising strength", "")
    second = [name for name in more if name.startswith("Hires ") or name == "Further passes"]
    if second:
        yield f"passes after the first are not made ({second[0]} {more[second[0]]}); this is the first pass"
    elif strength or "Init image" in more:
        yield f"it was made from another picture (denoising strength {strength or 'unknown'}), which it does not hold"
    if "Steps made" in more:
        yield f"only steps {more['Steps made']} were made there; all are made here"


def _parts(found: FoundRecipe, model: Model) -> Iterator[str]:
    for name, weight in found.loras:
        yield f"LoRA '{name}' at {weight:g} is not applied"
    skip = found.more.get("Clip skip", "1")
    if skip != str(model.text_skip + 1) and (skip != "1" or not model.text_skip):
        yield f"clip skip {skip} is not applied"
    if found.more.get("VAE", "None") not in ("None", "Automatic"):
        yield f"VAE '{found.more['VAE']}' is not loaded; the model's own decodes"


_TOLD = ("Denoising strength", "Further passes", "Init image", "Steps made", "Clip skip", "VAE", "ENSD")


def _unread(found: FoundRecipe) -> Iterator[str]:
    rest = [
        f"{name} {value[:40]}"
        for name, value in found.more.items()
        if name not in _TOLD and not name.startswith("Hires ") and not _SILENT.fullmatch(name.lower())
    ]
    if rest:
        shown = "; ".join(rest[:8]) + (f"; and {len(rest) - 8} more" if len(rest) > 8 else "")
        yield f"not honoured: {shown}"
