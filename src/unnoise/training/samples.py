"""A grid of pictures from the averaged model, always the same prompts and seeds, so that grids compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unnoise import images
from unnoise.checkpoints import Model
from unnoise.errors import InputError, UnnoiseError
from unnoise.evaluation.pictures import spread
from unnoise.training.config import RunConfig
from unnoise.training.data import PictureSet

_LEAST = 64  # pixels a side of a shown picture: smaller ones are enlarged by whole factors
_COLUMNS = 8
_TOGETHER = 4  # pictures of latents drawn at once: there is little room for them beside what trains


def prompts_for(config: RunConfig, pictures: PictureSet, model: Model) -> list[str]:
    """The configured prompts, or sixteen of the first captions, evenly over the alphabet, where words are read."""
    if config.sample_prompts:
        return list(config.sample_prompts)
    words = sorted({captions[0] for captions in pictures.captions if captions and model.towers})
    return [words[place] for place in spread(len(words), 16)] or [""] * 16


def check(model: Model, prompts: Sequence[str]) -> None:
    """Raises InputError for a sheet that could not be drawn once its step has come."""
    from unnoise.pipelines import request

    try:
        asked = request.check(model, list(prompts), seeds=list(range(len(prompts))))
        asked.scheduler.plan(model.schedule, asked.steps)
    except UnnoiseError as error:
        raise InputError(
            f"the samples cannot be drawn: {error} (model.defaults and run.sample_prompts say how they are; "
            "run.sample_every=0 draws none.)"
        ) from error


def write_grid(model: Model, prompts: Sequence[str], path: Path) -> None:
    """Draw one picture a prompt, seeds 0, 1, 2, ..., and write them as one PNG."""
    from unnoise.pipelines import TextToImage

    pipe, drawn = TextToImage(model), []
    together = len(prompts) if model.autoencoder is None else _TOGETHER
    for start in range(0, len(prompts), together):
        asked = list(prompts[start : start + together])
        drawn += pipe(asked, seeds=list(range(start, start + len(asked)))).images
    factor = max(1, -(-_LEAST // max(drawn[0].size)))
    sheet = images.grid([images.enlarge(picture, factor) for picture in drawn], min(_COLUMNS, len(drawn)))
    images.write_png(path, sheet)
