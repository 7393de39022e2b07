"""Is the picture in a file what its recipe makes? It is made again and compared, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from unnoise import images
from unnoise.files import expanded
from unnoise.pipelines.recipe import Recipe
from unnoise.pipelines.repeat import Repeat
from unnoise.pipelines.text_to_image import TextToImage

Verdict = Literal["bit-equal", "within 1/255", "different"]
_ROUNDED = (
    "sums are rounded otherwise by another number of threads, with LoRAs kept live or merged, and on other machines; "
    "of these a recipe tells nothing"
)
_CHANGED = "the pixels were changed after the picture was made, or on another machine made otherwise"


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
    """Make the picture in a file again with `pipe` and compare: alone, and if need be in a batch as its own.

    init, mask: the pictures that it was begun from, if any. lora_dir, embedding_dir, control_dir: folders of its
    LoRAs, textual inversions, and ControlNets with their pictures, beside those that `pipe` has. live: as of
    `with_loras`, for the LoRAs found there. told: hears how many steps are done, of how many. A picture that was saved
    enlarged is compared enlarged. Raises FileError where the file holds no recipe, InputError where the model cannot
    follow it, or a picture is missing.
    """
    repeat = Repeat.of(path, pipe.model, lora_dir, embedding_dir=embedding_dir, control_dir=control_dir)
    saved = images.open_picture(expanded(path))

    def made(again: Repeat) -> tuple[list[Image.Image], tuple[str, ...]]:
        run = again.denoise(pipe, init, mask, live=live)
        for step in run:
            told(step.index + 1, len(run))
        return run.result().images, again.differences(run.recipes[0])

    (alone,), differences = made(repeat)
    factor = max(1, saved.width // alone.width)
    if images.enlarge(alone, factor).size != saved.size:
        size = f"the file's picture is {saved.width}x{saved.height}, its recipe makes {alone.width}x{alone.height}"
        return Verification("different", None, 1.0, (size, *repeat.notes, *differences))
    largest, share = _apart(saved, alone, factor)
    if largest and repeat.batch:
        several, _ = made(repeat.in_its_batch())
        largest, share = min(_apart(saved, one, factor) for one in (alone, *several))
    if largest == 0:
        return Verification("bit-equal", 0, 0.0, ())
    reasons = (*repeat.notes, *differences, *(_own_reasons(path) if repeat.own else ()))
    if largest == 1:
        return Verification("within 1/255", 1, share, reasons or (_ROUNDED,))
    return Verification("different", largest, share, reasons or (_CHANGED,))


def _apart(saved: Image.Image, made: Image.Image, factor: int) -> tuple[int, float]:
    apart = np.abs(_numbers(saved) - _numbers(images.enlarge(made, factor)))
    return int(apart.max()), float((apart > 0).mean())


def _own_reasons(path: str | Path) -> tuple[str, ...]:
    theirs, ours = Recipe.from_png(path).version, version("unnoise")
    return () if theirs == ours else (f"it was made by unnoise {theirs}; this is {ours}",)


def _numbers(picture: Image.Image) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(picture.convert("RGBA"), dtype=np.int16)
