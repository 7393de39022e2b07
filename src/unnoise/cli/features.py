"""The word after `--features`: what pictures are turned into before sets of them are compared."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unnoise.cli.values import path
from unnoise.errors import InputError

if TYPE_CHECKING:
    from unnoise.evaluation.distances import Features

HELP = (
    "pixels; emoji (our encoder); the FID's Inception (pt_inception-2015-12-05-6726825d.pth, or as .safetensors); a "
    "ResNet or ViT of torchvision or timm (.pth, .safetensors, or its folder); a folder or .safetensors file of a CLIP "
    "picture tower or DINOv2 (config.json beside it); or MODULE:FUNCTION from uint8 (N, C, H, W) to (N, features)"
)


@dataclass(frozen=True)
class Encoding:
    """encode: (uint8 pictures, told) -> features; told hears of progress. before, after: words around their size."""

    encode: Callable[..., Features]
    before: str
    after: str = ""

    def named(self, shape: Sequence[int]) -> str:
        """What the features of pictures of this shape (pictures, channels, height, width) are."""
        return f"{self.before} {'x'.join(map(str, shape[1:]))}{self.after}"


def encoding(text: str) -> Encoding:
    """What the word means. Raises InputError where it means nothing, and as `evaluation.load_encoder` does."""
    from unnoise import evaluation
    from unnoise.checkpoints.picture_text import shipped_encoders

    if text == "pixels":
        return Encoding(
            lambda pixels, told: evaluation.pixel_features(pixels), text, ", from 0 to 1, not resized"
        )
    if text in shipped_encoders():
        judge = evaluation.Alignment.load(text)
        side = judge.encoder.network.picture.config.size
        return Encoding(
            lambda pixels, told: judge.features(pixels.float() / 127.5 - 1.0),
            f"encoder {judge.name}, of",
            f", brought to {side}x{side} by area-aware bilinear resizing",
        )
    file = path("--features", text)
    if file.exists() or file.suffix:
        encoder = evaluation.load_encoder(text)
        return Encoding(encoder, f"{encoder.name}, of")
    return _of_function(text)


def _of_function(text: str) -> Encoding:
    import numpy as np

    module, _, name = text.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # TypeError: a module of no package
        raise InputError(
            f"--features is {text}; give pixels, an encoder's file or folder, or MODULE:FUNCTION ({error})."
        ) from None
    return Encoding(
        lambda pixels, told: np.asarray(function(pixels), dtype=np.float64),
        f"{text} of",
        ", not resized by unnoise",
    )
