"""From a picture and a prompt to pictures: the picture is noised part of the way, and the run goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.networks.hardware import inference
from unnoise.pipelines.adapting import Adaptable
from unnoise.pipelines.canvas import Picture, digest, fitted, read_picture
from unnoise.pipelines.denoising import Denoising, called
from unnoise.pipelines.given import Given
from unnoise.pipelines.latents import encode, picture_channels
from unnoise.pipelines.options import Options, check_kind, expected_pictures, resize_notes
from unnoise.pipelines.request import check
from unnoise.pipelines.strength import entered

if TYPE_CHECKING:
    from typing_extensions import Unpack

RANGE = 8.0
"""Latents stay below this, for the hash that tells whether a picture was begun from the same ones."""


class ImageToImage(Adaptable):
    """A model that makes pictures from a picture and a prompt (SDEdit; Meng et al. 2022, alg. 1).

    Nothing is kept between calls, so threads may share one.
    """

    def denoise(
        self,
        prompt: str | Sequence[str],
        picture: Picture,
        *,
        strength: float | None = None,
        noise_level: float | None = None,
        **options: Unpack[Options],
    ) -> Denoising:
        """A run to pictures made from `picture`, or from each of several: an iterator of Step.

        picture: PIL, one or one for each that is made, a tensor in [-1, 1], or latents, as `Denoising.samples` gives
        them. strength: share of the steps that is made, 0.75 when None; at 1 the picture is forgotten and this is text
        to image. noise_level: sigma / alpha up to which the picture is noised instead, for all the steps. width,
        height: the picture's own, to the nearest that the model makes; another aspect takes the picture's middle.
        Other arguments as of `TextToImage`. Raises InputError.
        """
        check_kind(self.model, "text")
        expected = expected_pictures(prompt, options)
        latents = _latents(self.model, picture, expected)
        if latents is None:
            begun, factor = read_picture(picture, picture_channels(self.model), expected), 1
        else:
            begun, factor = latents / RANGE, self.model.factor
        given_size = (begun.shape[2] * factor, begun.shape[3] * factor)
        request = check(self.model, prompt, given_size, **options)
        plan, record = entered(request, self.model.schedule, strength, noise_level)
        size = (request.height, request.width)
        if latents is not None and size != given_size:
            raise InputError(
                f"the latents are of {given_size[1]}x{given_size[0]} pixels, and {size[1]}x{size[0]} are to be made; "
                "give latents of that size, and no width and height."
            )
        with inference(self.model.device):
            clean = encode(self.model, fitted(begun, size)) if latents is None else latents
        given = Given(
            clean=clean,
            from_noise=record.get("strength") == 1.0,
            record={"variant": "image to image", "init_hash": digest(begun), **record},
            notes=resize_notes(given_size, size),
        )
        return Denoising(self.model, request, plan, given)

    __call__ = called(denoise)


def _latents(model: Model, picture: Picture, count: int) -> Tensor | None:
    """The picture where it is given as the latents of an autoencoder; else None."""
    if model.autoencoder is None or not isinstance(picture, Tensor) or picture.ndim != 4:
        return None
    if picture.shape[1] != model.shape[0] or picture.shape[1] == picture_channels(model):
        return None
    if len(picture) not in (1, count) or not bool(torch.isfinite(picture).all()):
        raise InputError(
            f"picture is latents of shape {list(picture.shape)}; give finite ones, one for all or for each of {count}."
        )
    return picture.detach().to(model.device, torch.float32)
