"""From a picture and a prompt to pictures: the picture is noised part of the way, and the run goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from unnoise.checkpoints.model import Model
from unnoise.pipelines.canvas import Picture, digest, fitted, read_picture
from unnoise.pipelines.given import Given
from unnoise.pipelines.latents import encode, picture_channels
from unnoise.pipelines.options import (
    Options,
    check_kind,
    expected_pictures,
    requested,
    resize_notes,
)
from unnoise.pipelines.strength import entered
from unnoise.pipelines.text_to_image import Denoising, Result, finished

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ImageToImage:
    """A model that makes pictures from a picture and a prompt (SDEdit; Meng et al. 2022, alg. 1).

    Nothing is kept between calls, so threads may share one.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(
        self,
        prompt: str | Sequence[str],
        picture: Picture,
        *,
        strength: float | None = None,
        noise_level: float | None = None,
        show_every: int | None = None,
        **options: Unpack[Options],
    ) -> Result:
        """Pictures made from `picture`, or from each of several.

        picture: PIL, one or one for each that is made, or a tensor in [-1, 1]. strength: share of the steps that is
        made, 0.75 when None; at 1 the picture is forgotten and this is text to image. noise_level: sigma / alpha up to
        which the picture is noised instead, for all the steps. width, height: the picture's own, to the nearest that
        the model makes; another aspect takes the picture's middle. Other arguments as of `TextToImage`.
        Raises InputError.
        """
        run = self.denoise(prompt, picture, strength=strength, noise_level=noise_level, **options)
        return finished(run, show_every)

    def denoise(
        self,
        prompt: str | Sequence[str],
        picture: Picture,
        *,
        strength: float | None = None,
        noise_level: float | None = None,
        **options: Unpack[Options],
    ) -> Denoising:
        """The same run step by step: an iterator of Step, each with `preview()`."""
        check_kind(self.model, "text")
        pictures = read_picture(
            "picture", picture, picture_channels(self.model), expected_pictures(prompt, options)
        )
        given_size = (pictures.shape[2], pictures.shape[3])
        request = requested(self.model, prompt, options, given_size)
        plan, record = entered(request, self.model.schedule, strength, noise_level)
        size = (request.height, request.width)
        with torch.inference_mode():
            clean = encode(self.model, fitted(pictures, size))
        given = Given(
            clean=clean,
            from_noise=record.get("strength") == 1.0,
            record={"variant": "image to image", "init_hash": digest(pictures), **record},
            notes=resize_notes(given_size, size),
        )
        return Denoising(self.model, request, plan, given)
