"""What a picture was made of, as text that people and other tools read, and as JSON without loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from unnoise import images
from unnoise.checkpoints import recipes
from unnoise.checkpoints.recipes import FoundRecipe, a1111
from unnoise.checkpoints.recipes.found import whole
from unnoise.errors import FileError, InputError
from unnoise.files import expanded
from unnoise.limits import Declared, as_declared, typed
from unnoise.pipelines.recipe_adapters import hashes_of, tags_of
from unnoise.pipelines.recipe_variants import from_settings, settings_of, to_settings
from unnoise.schedulers import names

_GRIDS = sorted((*names.grid_names(), "Uniform", "Normal"), key=len, reverse=True)
"""What A1111 writes as "Schedule type", apart from the sampler. Longest first: "Logit Normal" ends as another does."""
_FOUND = (
    *("prompt", "negative", "seed", "steps", "guidance", "scheduler", "noise", "width", "height"),
    *("model", "model_hash", "version"),
)
"""What another program's recipe calls as ours does."""


@dataclass(frozen=True)
class Recipe(Declared):
    """Everything that makes the same picture again.

    prompt, negative: the texts. seed: of this picture alone, whatever its batch was. steps, guidance, scheduler: of the
    sampling. compat: the program whose values the scheduler has, if not the right ones. noise: the generator of the
    start, "torch" or "cuda", if not ours. width, height: in pixels. model, model_hash: the model's name and the sha256
    of its weights. own_noise: the start was given by the caller (`latents`), so the seed alone does not make it again.
    adapters: LoRAs, words of textual inversions and ControlNets, as `recipe_adapters` has it. clip_skip: where the text
    encoder was left, as A1111 counts; 0: where the model has it. prompt_style: how the prompts' weights are written.
    version: of unnoise. guidance_rule: what lies around the plain guidance (`combining.from_text` reads it). cache: of
    deep features (`FeatureCache.from_text` reads it). merge: of tokens (`TokenMerging.from_text` reads it). arithmetic:
    "int8" where the network multiplied in eight bits. variation: how far the start was moved to the noise of
    variation_seed. batch: how many pictures were made at once, which may round otherwise; 0: this one alone.

    variant: "" for text to image, else "image to image", "inpaint", "edit" or "second pass", and then: strength,
    noise_level: where it was entered (0: not said). init_hash, mask_hash: sha256 of the pixels that it began from.
    image_guidance: of an edit. feather: in pixels. area: "masked" where only that was worked on, with padding.
    outpaint: pixels added left, top, right, bottom. unpasted: known places are the model's too. hires_scale,
    hires_steps, hires_in: of a second pass.
    """

    prompt: str
    negative: str = ""
    seed: int = 0
    steps: int = 20
    guidance: float = 1.0
    scheduler: str = ""
    compat: str = ""
    noise: str = ""
    width: int = 0
    height: int = 0
    model: str = ""
    model_hash: str = ""
    own_noise: bool = False
    adapters: str = ""
    prompt_style: str = "a1111"
    version: str = ""
    guidance_rule: str = ""
    variant: str = ""
    strength: float = 0.0
    noise_level: float = 0.0
    init_hash: str = ""
    mask_hash: str = ""
    image_guidance: float = 0.0
    feather: float = 0.0
    area: str = ""
    padding: int = 0
    outpaint: str = ""
    unpasted: bool = False
    hires_scale: float = 0.0
    hires_steps: int = 0
    hires_in: str = ""
    clip_skip: int = 0
    cache: str = ""
    merge: str = ""
    arithmetic: str = ""
    variation_seed: int = 0
    variation: float = 0.0
    batch: int = 0

    def __post_init__(self) -> None:
        as_declared(self, "the recipe's ")

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def to_json(self) -> str:
        """JSON in ASCII: every text comes back exactly, lone surrogates too."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The inverse of `to_json`. Raises InputError for text that is no recipe."""
        try:
            table = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"this is not a recipe in JSON: {error}; give what `to_json` wrote.") from error
        return cls.from_dict(table)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_dict`; names of a later version are passed over. Raises InputError."""
        table = typed("a recipe", table, Mapping)
        values = {item.name: table[item.name] for item in fields(cls) if item.name in table}
        if "prompt" not in values:
            raise InputError("this recipe has no prompt; give one that unnoise wrote.")
        return cls(**values)

    def to_parameters(self) -> str:
        """The text that A1111 and its kin read: prompt, negative prompt, then a line of settings.

        LoRAs that the prompt does not ask for stand as tags after it, and the prompt itself among the settings.
        """
        sampler, grid = _split(self.scheduler)
        settings = {
            "Steps": self.steps,
            "Sampler": sampler,
            "Schedule type": grid,
            "CFG scale": f"{self.guidance:g}",
            "Seed": self.seed,
            "Size": f"{self.width}x{self.height}",
            "Model hash": self.model_hash[:10],
            "Model": self.model,
            "Variation seed": self.variation_seed if self.variation else "",
            "Variation seed strength": f"{self.variation:g}" if self.variation else "",
            "RNG": {"torch": "CPU", "cuda": "NV"}.get(self.noise, ""),
            "Clip skip": self.clip_skip or "",
            "Prompt style": "" if self.prompt_style == "a1111" else self.prompt_style,
            **to_settings(self),
            "Adapters": self.adapters,
            **hashes_of(self),
            "Raw prompt": self.prompt if (tags := tags_of(self)) else "",
            "Version": f"unnoise {self.version}".strip(),
        }
        lines = [f"{self.prompt} {tags}".strip() if tags else self.prompt]
        lines += [a1111.NEGATIVE + self.negative] if self.negative else []
        line = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in settings.items() if value != "")
        return "\n".join([*lines, line])

    @classmethod
    def from_parameters(cls, text: str) -> Recipe:
        """A recipe from the text of A1111, of its kin, or of `to_parameters`.

        What the text leaves out takes A1111's default. Raises InputError where the settings make no sense.
        """
        return cls.from_found(a1111.read(typed("the text of a recipe", text, str)))

    @classmethod
    def from_found(cls, found: FoundRecipe) -> Recipe:
        """A recipe from what another program left in a picture; what it does not tell has our default."""
        told = {name: value for name in _FOUND if (value := getattr(found, name)) is not None}
        settings = settings_of(found)
        return cls(
            prompt_style=settings.get("Prompt style", "a1111"),
            adapters=settings.get("Adapters", ""),
            clip_skip=max(whole(found.more.get("Clip skip")) or 0, 0),
            variation_seed=found.variation[0],
            variation=found.variation[1],
            **told,
            **from_settings(settings),
        )

    @classmethod
    def from_png(cls, path: str | Path) -> Recipe:
        """The recipe in a picture: ours without loss when it is there, else another program's. Raises FileError."""
        found = written_in(path)
        return cls.from_found(found) if isinstance(found, FoundRecipe) else found

    def png_text(self) -> dict[str, str]:
        """The text chunks of a PNG: "parameters" for people and other tools, "unnoise" without loss."""
        return {"parameters": self.to_parameters(), "unnoise": self.to_json()}


def written_in(path: str | Path, content: bytes | None = None) -> Recipe | FoundRecipe:
    """What a picture says of itself: a recipe of ours, or what another program wrote. Raises FileError for neither.

    content: its bytes, where they are known already.
    """
    text = images.read_text(expanded(path), content)
    if "unnoise" in text:
        return Recipe.from_json(text["unnoise"])
    found = recipes.read_chunks(text)
    if found is None:
        raise FileError(
            f"'{path}' holds no recipe; give a picture that unnoise, A1111, ComfyUI, InvokeAI or their kin wrote."
        )
    return found


def _split(scheduler: str) -> tuple[str, str]:
    """Sampler and schedule type of a joined name such as "DPM++ 2M Karras"."""
    for grid in _GRIDS:
        if scheduler.endswith(f" {grid}"):
            return scheduler.removesuffix(f" {grid}"), grid
    return scheduler, ""


def _quoted(value: str) -> str:
    odd = any(mark in value for mark in ',:\n"') or value.startswith(("[", "{")) or value != value.strip()
    return json.dumps(value) if odd else value
