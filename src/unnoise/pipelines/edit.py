"""A picture changed as an instruction says, by a model trained for that (instruct-pix2pix, 8 channels)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.limits import number
from unnoise.networks.hardware import inference
from unnoise.networks.unet import UNet
from unnoise.pipelines.adapting import Adaptable
from unnoise.pipelines.canvas import Picture, digest, fitted, read_picture
from unnoise.pipelines.combining import Asked, Scale
from unnoise.pipelines.denoising import Denoising, called
from unnoise.pipelines.given import Given
from unnoise.pipelines.guidance import Condition, Halves
from unnoise.pipelines.latents import encode, picture_channels
from unnoise.pipelines.options import Options, check_kind, expected_pictures, resize_notes
from unnoise.pipelines.request import GUIDANCE, Request, check
from unnoise.schedulers import Plan

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, eq=False)
class TwiceGuided:
    """A network guided by a picture and by an instruction, each with its own scale; a callable that a Diffuser takes.

    output = neither + picture_guidance (picture - neither) + guidance (both - picture) (Brooks et al. 2023, eq. 3),
    the three in one batch. condition: of the negative prompts, then of the prompts. beside: (pictures, channels,
    height, width), the picture's latents.
    """

    network: UNet
    condition: Condition
    guidance: float
    picture_guidance: float
    beside: Tensor

    def __call__(self, x: Tensor, time: Tensor, asked: Asked | None = None) -> Tensor:
        """x: (batch, channels, height, width); time: (batch,). Returns the same shape."""
        count = len(x)
        shown = self.beside.to(x).expand(count, -1, -1, -1)
        beside = torch.cat([torch.zeros_like(shown), shown, shown])
        seen = torch.cat([torch.cat([x, x, x]), beside], dim=1)
        rows = self.condition.rows([*range(count), *range(count), *range(count, 2 * count)])
        answer = rows.ask(self.network, seen, time.repeat(3))
        wide = torch.promote_types(answer.dtype, torch.float32)  # rounded once, as plain guidance is
        neither, picture, both = answer.to(wide).chunk(3)
        out = neither + self.picture_guidance * (picture - neither) + self.guidance * (both - picture)
        return out.to(answer.dtype)


@dataclass(frozen=True, eq=False)
class GivenToEdit(Given):
    """A picture to change: it is seen, and not begun from."""

    picture_guidance: float = 1.0

    def guided(self, request: Request) -> bool:
        """Yes, whatever the guidance: the picture's own needs both."""
        return True

    def network(
        self, model: Model, request: Request, condition: Condition, memory: list[Tensor], both: bool
    ) -> Callable[..., Tensor | Halves]:
        """What a Diffuser asks."""
        assert self.beside is not None
        return TwiceGuided(model.network, condition, request.guidance, self.picture_guidance, self.beside)


class Edit(Adaptable):
    """A model that changes a picture as the prompt says: "make it snow"."""

    def denoise(
        self,
        prompt: str | Sequence[str],
        picture: Picture,
        *,
        picture_guidance: float = 1.5,
        **options: Unpack[Options],
    ) -> Denoising:
        """A run to the picture, changed: an iterator of Step.

        picture_guidance: how strongly the result keeps to the picture, 0 to 100. guidance: how strongly the
        instruction is heeded, a plain number. width, height: as in `ImageToImage`. Other arguments as of `TextToImage`.
        Raises InputError.
        """
        model = self.model
        check_kind(model, "edit")
        picture_guidance = number("picture_guidance", picture_guidance, 0.0, GUIDANCE, 1.5)
        pictures = read_picture(picture, picture_channels(model), expected_pictures(prompt, options))
        sides = (pictures.shape[2], pictures.shape[3])
        request = check(model, prompt, sides, **options)
        plan = request.scheduler.plan(model.schedule, request.steps)
        _check(request, plan)
        size = (request.height, request.width)
        with inference(model.device):
            # this family was trained on the autoencoder's own units, not on those of the diffusion
            beside = encode(model, fitted(pictures, size), scaled=False)
        record = {"variant": "edit", "image_guidance": picture_guidance, "init_hash": digest(pictures)}
        given = GivenToEdit(
            beside=beside, record=record, notes=resize_notes(sides, size), picture_guidance=picture_guidance
        )
        return Denoising(model, request, plan, given)

    __call__ = called(denoise)


def _check(request: Request, plan: Plan) -> None:
    """Raises InputError for ways to guide that are not twice."""
    if not isinstance(request.rule, Scale):
        raise InputError("an edit is guided twice, by plain numbers; give guidance and picture_guidance.")
    if any(said.composed for said in request.said):
        raise InputError("an edit heeds one instruction; AND joins prompts of text to image. Leave AND out.")
    if plan.halves:
        raise InputError(
            f"{request.scheduler_name} needs plain guidance, and an edit is guided twice; give another."
        )
