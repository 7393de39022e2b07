"""Is the picture in a file what its recipe makes? It is made again and compared, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from unnoise import images
from unnoise.checkpoints.model import Model
from unnoise.files import expanded
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.repeat import Repeat
from unnoise.pipelines.text_to_image import TextToImage

Verdict = Literal["bit-equal", "within 1/255", "different"]
_ROUNDED = (
    "sums are rounded otherwise in a batch, by another number of threads, with LoRAs kept live or merged, and on other "
    "machines; of these a recipe tells nothing"
)


@dataclass(frozen=True)
class Verification:
    """How a picture made again differs from the one in the file.

    largest: the largest difference of a number of a pixel, in 255ths; None where the sizes differ. share: the part
    of all numbers that differ. reasons: what may be why, a sentence each; empty where nothing differs.
    """

    verdict: Verdict
    largest: int | None
    share: float
    reasons: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the recipe makes the picture, to the last grey level."""
        return self.verdict != "different"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"holds": self.holds}


def verify(
    pipe: TextToImage,
    path: str | Path,
    *,
    init: Image.Image | None = None,
    mask: Image.Image | None = None,
    lora_dir: str | Path | None = None,
    embedding_dir: str | Path | None = None,
    control_dir: str | Path | None = None,
    live: bool = False,
    told: Callable[[int, int], None] = lambda done, steps: None,
) -> Verification:
    """Make the picture in a file again with `pipe` and compare.

    init, mask: the pictures that it was begun from, if any. lora_dir, embedding_dir, control_dir: folders of its
    LoRAs, textual inversions, and ControlNets with their pictures, beside those that `pipe` has. live: as of
    `with_loras`, for the LoRAs found there. told: hears how many steps are done, of how many. A picture that was saved
    enlarged is compared enlarged. Raises FileError where the file holds no recipe, InputError where the model cannot
    follow it, or a picture is missing.
    """
    repeat = Repeat.of(path, pipe.model, lora_dir, embedding_dir=embedding_dir, control_dir=control_dir)
    run = repeat.denoise(pipe, init, mask, live=live)
    for step in run:
        told(step.index + 1, len(run))
    made = run.result().images[0]
    notes = (*repeat.notes, *repeat.differences(run.recipes[0]))
    saved = images.open_picture(expanded(path))
    factor = max(1, saved.width // made.width)
    made = images.enlarge(made, factor)
    if made.size != saved.size:
        size = (
            f"the file's picture is {saved.width}x{saved.height}, its recipe makes {made.width}x{made.height}"
        )
        return Verification("different", None, 1.0, (size, *notes))
    apart = np.abs(_numbers(saved) - _numbers(made))
    largest, share = int(apart.max()), float((apart > 0).mean())
    if largest == 0:
        return Verification("bit-equal", 0, 0.0, ())
    reasons = (*notes, *(_own_reasons(path) if repeat.own else ()))
    if largest == 1:
        return Verification("within 1/255", 1, share, reasons or (_ROUNDED,))
    return Verification("different", largest, share, reasons or tuple(_other_reasons(pipe.model)))


def _other_reasons(model: Model) -> Iterator[str]:
    yield "the pixels were changed after the picture was made, or on another machine made otherwise"
    if model.network.dtype != torch.float32:
        yield "or it was made together with others: fewer digits than float32's round otherwise in a batch"


def _own_reasons(path: str | Path) -> tuple[str, ...]:
    theirs, ours = Recipe.from_png(path).version, version("unnoise")
    return () if theirs == ours else (f"it was made by unnoise {theirs}; this is {ours}",)


def _numbers(picture: Image.Image) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(picture.convert("RGBA"), dtype=np.int16)
