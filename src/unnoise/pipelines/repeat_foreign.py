"""Another program's recipe as arguments of a pipeline, and what of it cannot be done here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from unnoise.checkpoints.adapters import Lora
from unnoise.checkpoints.adapters.asked import of_tag
from unnoise.checkpoints.model import Model
from unnoise.checkpoints.recipes import FoundRecipe
from unnoise.checkpoints.recipes.found import number
from unnoise.errors import InputError
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.recipe_adapters import Wanted, hashes_in, plain_name, wanted_of
from unnoise.pipelines.recipe_variants import NAMES, settings_of
from unnoise.pipelines.repeat_own import (
    Read,
    clip_skip_of,
    named,
    options_of,
    other_arithmetic,
    other_model,
    scheduler_of,
)
from unnoise.pipelines.repeat_variant import SECOND, arguments_of
from unnoise.pipelines.second_pass import SCALE
from unnoise.process import DiscreteVP
from unnoise.schedulers import Scheduler
from unnoise.text.prompts import LoraTag, Prompt
from unnoise.text.prompts.tags import take

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
_STYLES = {"ComfyUI": "comfyui", "SwarmUI": "comfyui", "Fooocus": "comfyui", "InvokeAI": "compel"}
_TAGGED = ("SwarmUI", "Fooocus")  # write weights as ComfyUI and tags as A1111
_HYPERNET = re.compile(r"<hypernet:[^<>]{1,300}>")
_TEXT_WEIGHT = "LoRA text weight "
# Settings that change nothing in the picture, or that are told under another name.
_SILENT = re.compile(
    r"(batch (size|pos)|.*hash(es)?|created date|civitai.*|operations|parser|backend|pipeline|app|user|performance|"
    r"lora networks|sampler spacing|template|negative template|full_.*|styles|created_by|sd_version|n_samples|"
    r"uncond_per_vibe|legacy.*|params_hash|title|software|date|generation_time|nopreviews|image_?format|"
    r"original_prompt|used_wildcards|aspectratio|canvas_v2_metadata|ref_images|controlnets|sampler type|"
    r"vae encoder|vae decoder|img2img_hash|seamless_.*)"
)


def read(found: FoundRecipe, model: Model) -> Read:
    """What another program's recipe says. Raises InputError for one that makes no sense."""
    written, found = found, replace(found, more=settings_of(found))
    more, passes = _hires(found)
    recipe = Recipe.from_found(replace(found, more=more))
    options, notes = _options(found, recipe, model)
    variant, begun = _variant(found, recipe)
    style = found.more.get("Prompt style") or _STYLES.get(found.program, "a1111")
    text, tags, said = _said(found, style)
    loras, others = wanted_of(recipe.adapters)
    skip, skipped = _clip_skip(found, model)
    return Read(
        options=options | {"prompt": text, "prompt_style": style},
        variant=variant,
        arguments=arguments_of(recipe),
        clip_skip=skip,
        loras=loras or _loras(found, tags),
        others=others or _words(found, style),
        asked=frozenset(tag.name for tag in tags),
        notes=(*notes, *passes, *begun, *said),
        more=(*skipped, *_unread(written, found)),
    )


def word_for_word(options: Mapping[str, Any]) -> Iterator[str]:
    """A sentence where the prompts cannot be read in their style, and are to be taken as they stand."""
    try:
        Prompt.read(options["prompt"], options["prompt_style"])
        Prompt.read(options["negative"], options["prompt_style"], negative=True)
    except InputError as error:
        yield f"its prompt is taken word for word: {error}".rstrip(".")


def _options(found: FoundRecipe, recipe: Recipe, model: Model) -> tuple[dict[str, Any], list[str]]:
    """The arguments that every pipeline has; and notes."""
    chosen, notes = _sampling(found, model)
    untold = {"scheduler", *(name for name in ("seed", "steps", "guidance") if getattr(found, name) is None)}
    options = {name: value for name, value in options_of(recipe).items() if name not in untold} | chosen
    if found.seed is not None:
        options["seed"] = found.seed % 2**63
    if found.assumed:
        notes.append(f"not told, and taken as {found.program} has them: {', '.join(found.assumed)}")
    notes += _model_notes(found, model)
    if found.program == "unnoise":
        notes += other_arithmetic(recipe.arithmetic, model)
    return options, notes


def _said(found: FoundRecipe, style: str) -> tuple[str, tuple[LoraTag, ...], list[str]]:
    """The prompt, the LoRAs that it asks for, and notes. What nobody here can load is taken out."""
    text, notes = found.prompt, []
    if style == "a1111" and (tags := _HYPERNET.findall(text)):
        notes = [f"{tag} is not applied; unnoise has no hypernetworks" for tag in tags]
        text = _HYPERNET.sub("", text).strip()
    if found.program == "NovelAI" and re.search(r"[\[\]{}]|\d::", text):
        notes.append("NovelAI's weights, such as {word}, are read as A1111 reads them")
    try:
        if found.program in _TAGGED:
            text, loras, _ = take(text)
            return text.strip(), loras, notes
        return text, Prompt.read(text, style).loras, notes
    except InputError:
        return text, (), notes


def _loras(found: FoundRecipe, tags: tuple[LoraTag, ...]) -> list[Wanted]:
    """The LoRAs of tags, and those that are told beside the prompt."""
    wanted, hashes = [], hashes_in(found.more.get("Lora hashes", ""))
    for tag in tags:
        alone = bool(tag.text) and not tag.network
        lora = Lora(tag.name, 1.0, {"text_encoder": tag.text, "unet": 0.0}) if alone else of_tag(tag)
        wanted.append(Wanted(lora, hashes.get(tag.name, "")))
    said = {tag.name for tag in tags}
    for name, weight in found.loras:
        text = number(found.more.get(_TEXT_WEIGHT + name))
        if name not in said:
            blocks = {} if text is None or not weight else {"text_encoder": text / weight}
            wanted.append(Wanted(Lora(name, weight, blocks), hashes.get(name, "")))
    return wanted


def _words(found: FoundRecipe, style: str) -> list[str]:
    """Textual inversions that A1111's text tells, as our recipes do, or that ComfyUI's prompts name."""
    told = hashes_in(found.more.get("TI hashes", ""))
    try:
        said = [
            phrase for text in (found.prompt, found.negative) for phrase in Prompt.read(text, style).phrases
        ]
    except InputError:
        said = []
    named = (piece.text for phrase in said for section in phrase.sections for piece in section if piece.named)
    told |= {plain_name(name): "" for name in named}
    return [f"word {word}:{word.replace(':', ' ')}:{digest}" for word, digest in told.items()]


def _sampling(found: FoundRecipe, model: Model) -> tuple[dict[str, Any], list[str]]:
    """The scheduler as near to the program's as can be, and what is not as there."""
    table = isinstance(
        model.schedule, DiscreteVP
    )  # other programs' values are of models with a table of betas
    compat = _COMPAT.get(found.program) if table else None
    whole = found.scheduler
    tries = [(whole, compat, "")]
    if compat is not None:
        tries.append((whole, None, f"{compat} values of {whole} are not known here; the right ones are used"))
    if found.sampler != whole:
        tries.append(
            (found.sampler, compat, f"grid {found.grid} is not known for {found.sampler}; its own is used")
        )
    for name, program, note in tries:
        scheduler = scheduler_of(name, program) if found.sampler else None
        if scheduler is not None:
            chosen = {"scheduler": name} | ({} if program is None else {"compat": program})
            return chosen, [*filter(None, [note]), *_noise(found, scheduler)]
    told = f"sampler {whole} is not known" if whole else "no sampler is told"
    return {}, [f"{told}; the model's default, {model.defaults.scheduler}, is used", *_noise(found, None)]


def _noise(found: FoundRecipe, scheduler: Scheduler | None) -> Iterator[str]:
    if not found.noise and found.program != "unnoise":
        yield f"how {found.program} draws the noise of the start is not known; ours is drawn"
    if scheduler is not None and scheduler.stochastic:
        delta = f" (and ENSD {found.more['ENSD']})" if "ENSD" in found.more else ""
        yield f"{found.sampler} draws noise at every step; that noise{delta} is ours, so the picture will differ"


def _model_notes(found: FoundRecipe, model: Model) -> Iterator[str]:
    given, ours = found.model_hash.lower(), model.fingerprint()
    if len(given) >= 10:
        if not ours.startswith(given[:64]):
            yield other_model(found.model, given, model)
    elif given or found.model != model.name:
        why = f"its hash {given} is of the old kind, which says little" if given else "no hash of it is told"
        yield f"the picture's model is {named(found.model)}; whether '{model.name}' is the same is not known ({why})"


def _variant(found: FoundRecipe, recipe: Recipe) -> tuple[str, list[str]]:
    """What it was begun from, and notes."""
    variant, strength = recipe.variant, found.more.get("Denoising strength", "")
    notes = []
    if "Further passes" in found.more:
        notes.append(
            f"passes after the first are not made ({found.more['Further passes']} follow); this is the first"
        )
    elif variant not in ("", SECOND) or "Init image" in found.more:
        variant = variant or "image to image"
        notes.append(
            f"it was made from another picture (denoising strength {strength or 'unknown'}), which it does not hold; "
            "it is begun from the one that --init gives, if any"
        )
    if "Steps made" in found.more:
        notes.append(f"only steps {found.more['Steps made']} were made there; all are made here")
    return variant, notes


def _hires(found: FoundRecipe) -> tuple[Mapping[str, str], list[str]]:
    """The settings, with a second pass as it can be made here; and notes."""
    named = {name: value for name, value in found.more.items() if name.startswith("Hires ")}
    if not named:
        return found.more, []
    scale = number(named.get("Hires upscale")) or _scale(named.get("Hires resize", ""), found)
    more = {name: value for name, value in found.more.items() if name not in named}
    if scale is None or not 1.0 <= scale <= SCALE:
        first = next(iter(named))
        more.pop("Denoising strength", None)  # it is that of the second pass
        return more, [f"passes after the first are not made ({first} {named[first]}); this is the first pass"]
    upscaler, steps = named.get("Hires upscaler", "Latent"), named.get("Hires steps", "")
    more |= {"Hires upscale": repr(scale), "Hires upscaler": upscaler}
    more |= {"Hires steps": steps} if steps not in ("", "0") else {}
    notes = []
    if upscaler != "Latent" and found.program != "unnoise":
        way = (
            "latents are enlarged bilinearly"
            if upscaler.startswith("Latent")
            else "pixels are enlarged bicubically"
        )
        notes.append(f"its upscaler, {upscaler}, is not here; {way}")
    rest = [f"{name} {value[:40]}" for name, value in named.items() if name not in _HIRES]
    return more, notes + ([f"not honoured in the second pass: {'; '.join(rest[:8])}"] if rest else [])


def _scale(size: str, found: FoundRecipe) -> float | None:
    """The scale of a second pass whose size is told instead, as "1024x768"; None where it has another aspect."""
    sides = [number(part) for part in size.split("x")]
    if len(sides) != 2 or not sides[0] or not sides[1] or not found.width or not found.height:
        return None
    scale = sides[0] / found.width
    return scale if abs(scale * found.height - sides[1]) < 1.0 else None


def _clip_skip(found: FoundRecipe, model: Model) -> tuple[int, tuple[str, ...]]:
    """The clip skip to be set, and notes on parts that are not loaded."""
    notes = []
    told = found.more.get("Clip skip", "")
    skip = int(told) if told.isdecimal() and len(told) < 4 else 0
    if model.text_skip:  # such models are read before the last layer by all, and A1111 heeds no other there
        skip, plain = 0, skip in (0, 1, model.text_skip + 1)
        notes += [] if plain else [f"clip skip {told} is not applied"]
    skip, skipped = clip_skip_of(0 if skip == 1 and not model.clip_skip else skip, model)
    notes += skipped
    if found.more.get("VAE", "None") not in ("None", "Automatic", "Default (model)"):
        notes.append(f"VAE '{found.more['VAE']}' is not loaded; the model's own decodes")
    return skip, tuple(notes)


_HIRES = ("Hires upscale", "Hires resize", "Hires steps", "Hires upscaler")
_TOLD = (
    *("Further passes", "Init image", "Steps made", "Clip skip", "VAE", "ENSD", "Prompt style", "Adapters"),
    *NAMES,
)


def _unread(written: FoundRecipe, found: FoundRecipe) -> Iterator[str]:
    """One sentence on the settings that nothing here reads. found: as it was read, of what is written."""
    still = number(found.more.get("Variation seed strength")) == 0.0  # nothing to be honoured
    varied = ("Variation seed",) if still or found.variation[1] else ()
    rest = [
        f"{name[:40]} {value[:40]}"
        for name, value in written.more.items()
        if not (name in _TOLD and name in found.more)
        and not name.startswith(("Hires ", _TEXT_WEIGHT, *varied))
        and not _SILENT.fullmatch(name.lower())
    ]
    if rest:
        shown = "; ".join(rest[:8]) + (f"; and {len(rest) - 8} more" if len(rest) > 8 else "")
        yield f"not honoured: {shown}"
