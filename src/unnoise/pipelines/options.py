"""The arguments that every pipeline takes, and the checks that pipelines with a picture share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from torch import Tensor

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.limits import is_whole
from unnoise.pipelines.caching import FeatureCache
from unnoise.pipelines.combining import Guidance
from unnoise.pipelines.merging import TokenMerging
from unnoise.schedulers import Scheduler


class Options(TypedDict, total=False):
    """Arguments of `TextToImage.denoise` that mean the same in every pipeline."""

    negative: str | Sequence[str]
    steps: int | None
    guidance: float | Guidance | None
    seed: int | None
    seeds: Sequence[int] | None
    width: int | None
    height: int | None
    count: int
    scheduler: str | Scheduler | None
    compat: str | None
    noise: str | None
    variation: tuple[int, float] | None
    latents: Tensor | None
    prompt_style: str
    clip_skip: int | None
    cache: float | str | FeatureCache | None
    merge: float | str | TokenMerging | None
    show_every: int | None


def expected_pictures(prompt: str | Sequence[str], options: Options) -> int:
    """How many pictures such a call makes, before it is checked: what makes no sense counts as one."""
    count = options.get("count", 1)
    texts = 1 if isinstance(prompt, str) or not isinstance(prompt, Sequence) else len(prompt)
    return texts * (int(count) if is_whole(count) else 1)


_KINDS = {
    "text": "a plain model, which sees nothing beside the noisy sample",
    "inpaint": "an inpainting model, which sees a mask and the rest of the picture; use Inpaint (--init and --mask)",
    "edit": "an editing model (instruct-pix2pix), which sees a picture to change; use Edit (--init)",
}


def kind_of(model: Model) -> str:
    """What the network sees beside the sample: "text" (nothing), "inpaint" or "edit"."""
    return {0: "text", model.shape[0]: "edit"}.get(model.beside, "inpaint")


def check_kind(model: Model, *allowed: str) -> None:
    """Raises InputError for a model whose network needs other channels than this pipeline gives."""
    kind = kind_of(model)
    if kind in allowed:
        return
    wanted = "" if kind != "text" else " This pipeline needs one that does: load such a checkpoint."
    name = f"'{model.name}'" if model.name else "this model"
    raise InputError(f"{name} is {_KINDS[kind]}.{wanted}")


def resize_notes(given: tuple[int, int], made: tuple[int, int]) -> tuple[str, ...]:
    """A sentence where a picture had to change its size."""
    if tuple(given) == tuple(made):
        return ()
    return (f"the picture was changed from {given[1]}x{given[0]} to {made[1]}x{made[0]}",)
