"""A grid of pictures from the averaged model, always the same prompts and seeds, so that grids compare."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from unnoise import files
from unnoise.checkpoints import Model
from unnoise.training.config import RunConfig
from unnoise.training.data import PictureSet

_LEAST = 64  # pixels a side of a shown picture: smaller ones are enlarged by whole factors
_COLUMNS = 8


def prompts_for(config: RunConfig, pictures: PictureSet) -> list[str]:
    """The configured prompts, or up to sixteen different first captions, in alphabetical order."""
    if config.sample_prompts:
        return list(config.sample_prompts)
    words = sorted({captions[0] for captions in pictures.captions if captions})
    return words[:: max(1, len(words) // 16)][:16] or [""] * 16


def write_grid(model: Model, prompts: Sequence[str], path: Path) -> None:
    """Draw one picture a prompt, seeds 0, 1, 2, ..., and write them as one PNG."""
    from unnoise.pipelines import TextToImage

    result = TextToImage(model)(list(prompts), seeds=list(range(len(prompts))))
    stream = io.BytesIO()
    grid(result.images).save(stream, "PNG")
    files.write_bytes(path, stream.getvalue())


def grid(images: Sequence[Image.Image], columns: int = _COLUMNS) -> Image.Image:
    """Pictures of one size side by side, in rows of `columns`."""
    factor = max(1, -(-_LEAST // max(images[0].size)))
    width, height = (side * factor for side in images[0].size)
    columns = min(columns, len(images))
    sheet = Image.new(images[0].mode, (columns * width, -(-len(images) // columns) * height))
    for place, image in enumerate(images):
        shown = image.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(shown, (place % columns * width, place // columns * height))
    return sheet
