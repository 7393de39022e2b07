"""Part of a picture made anew, to a prompt; with room added around it, outpainting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.limits import choice, number, typed, whole
from unnoise.networks.hardware import inference
from unnoise.pipelines.adapting import Adaptable
from unnoise.pipelines.canvas import (
    Box,
    Canvas,
    Picture,
    digest,
    feathered,
    outpainted,
    read_mask,
    read_picture,
    read_sides,
)
from unnoise.pipelines.denoising import Denoising, called
from unnoise.pipelines.given import Given
from unnoise.pipelines.latents import encode, picture_channels
from unnoise.pipelines.options import Options, check_kind, expected_pictures, kind_of
from unnoise.pipelines.request import check
from unnoise.pipelines.strength import entered

if TYPE_CHECKING:
    from typing_extensions import Unpack

AREAS = ("picture", "masked")
FEATHER, PADDING = 256.0, 4096


class Inpaint(Adaptable):
    """A model that paints the masked part of a picture anew.

    With an ordinary model the known part is held at its own noise level throughout, as if the network had seen it
    perfectly (compare Song et al. 2021, app. I.2). An inpainting model (9 channels, Rombach et al. 2022, sec. 4.5)
    is shown the mask and the rest of the picture instead.
    """

    def denoise(
        self,
        prompt: str | Sequence[str],
        picture: Picture,
        mask: Image.Image | Tensor | None = None,
        *,
        outpaint: Box | None = None,
        strength: float | None = None,
        noise_level: float | None = None,
        feather: float = 0.0,
        area: str = "picture",
        padding: int = 32,
        paste: bool = True,
        **options: Unpack[Options],
    ) -> Denoising:
        """A run to pictures with their masked part made anew: an iterator of Step.

        mask: light where to paint, of the picture's size. outpaint: pixels to add left, top, right and bottom, which
        are painted too; then no mask is needed. strength: share of the steps, 1 when None; below 1 what is under the
        mask shines through. noise_level: as in `ImageToImage`. feather: width in pixels over which new fades into known
        around the mask. area: "picture" paints it whole; "masked" only the box around the mask and `padding`, enlarged
        to the model's own size, or width and height. paste: known places keep the picture's own bits, and the result
        its size; without, it is as the model gives it. Other arguments as of `TextToImage`. Raises InputError.
        """
        model = self.model
        check_kind(model, "text", "inpaint")
        feather = number("feather", feather, 0.0, FEATHER, 4.0, "pixels")
        area, paste = choice("area", area, AREAS), typed("paste", paste, bool)
        padding = whole("padding", padding, 0, PADDING, 32)
        read = read_picture(picture, picture_channels(model), expected_pictures(prompt, options))
        added = None if outpaint is None else read_sides(outpaint)
        pictures, fresh = _read(read, mask, added)
        sides = (pictures.shape[2], pictures.shape[3])
        request = check(model, prompt, None if area == "masked" else sides, **options)
        plan, record = entered(request, model.schedule, strength, noise_level, default=1.0)
        size, everywhere = (request.height, request.width), (0, 0, sides[1], sides[0])
        canvas = Canvas(pictures, feathered(fresh, feather), everywhere, size)
        if area == "masked":
            canvas = canvas.around_mask(padding)
        told: dict[str, Any] = {
            "variant": "inpaint",
            "feather": feather,
            "init_hash": digest(read),
            "mask_hash": digest(fresh),
            "outpaint": ",".join(map(str, added or ())),
            "unpasted": not paste,
            **({"area": area, "padding": padding} if area == "masked" else {}),
            **record,
        }
        given = given_for(model, canvas, record.get("strength") == 1.0, paste, told)
        return Denoising(model, request, plan, given)

    __call__ = called(denoise)


def given_for(model: Model, canvas: Canvas, from_noise: bool, paste: bool, record: dict[str, Any]) -> Given:
    """What an ordinary model is given to inpaint this canvas, or an inpainting model."""
    hidden, part = canvas.hidden, canvas.part
    with inference(model.device):
        clean = encode(model, part)
        # a latent is new where any of its pixels is: all that is painted must be free to change
        fresh = F.max_pool2d(hidden.float(), model.factor).to(model.device)
        beside = None
        if kind_of(model) == "inpaint":
            shown = encode(model, part * ~hidden)
            beside = torch.cat([fresh.expand(len(shown), -1, -1, -1), shown], dim=1)
    return Given(
        clean=clean,
        from_noise=from_noise,
        fresh=fresh > 0.0,
        beside=beside,
        canvas=canvas if paste else None,
        record=record,
        notes=() if bool(hidden.any()) else ("the mask is dark everywhere: the picture stays as it is",),
    )


def _read(pictures: Tensor, mask: Image.Image | Tensor | None, sides: Box | None) -> tuple[Tensor, Tensor]:
    """The pictures, with the room that is added, and where they are to be new: (1, 1, height, width) of 0 and 1."""
    known = None if mask is None else read_mask(mask, (pictures.shape[2], pictures.shape[3]))
    if sides is None:
        if known is None:
            raise InputError("mask is missing; give a picture that is white where to paint, or outpaint.")
        return pictures, known
    wide, fresh = outpainted(pictures, sides)
    if known is not None:
        left, top, right, bottom = sides
        fresh = torch.maximum(fresh, F.pad(known, (left, right, top, bottom)))
    return wide, fresh
