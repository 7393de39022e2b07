"""ControlNets and T2I-Adapters of a model, made ready for one run: its size in pixels, its steps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unnoise import images
from unnoise.checkpoints.controlnet import Control
from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.networks.unet import Guide, PictureAdapter, Steered
from unnoise.schedulers import Plan


def steered(model: Model, plan: Plan, width: int, height: int) -> Model:
    """The model whose network hears its ControlNets and T2I-Adapters. width, height: of the picture, in pixels."""
    if not model.controls:
        return model
    for one in model.controls:
        _check_size(one, width, height)
    guides = [
        Guide(one.network, hint(one, width, height).to(model.device), one.strength, *_times(one, plan))
        for one in model.controls
    ]
    return replace(model, network=Steered(model.network, guides))


def _check_size(control: Control, width: int, height: int) -> None:
    """Raises InputError where a T2I-Adapter, which folds squares of the picture into places, would leave a rest."""
    fold = control.network.config.fold if isinstance(control.network, PictureAdapter) else 1
    if width % fold or height % fold:
        raise InputError(
            f"the picture is {width}x{height}, and the adapter '{control.name}' reads squares of {fold} pixels; give a "
            f"width and a height that are multiples of {fold}."
        )


def hint(control: Control, width: int, height: int) -> Tensor:
    """The picture as the network reads it: (1, 3, height, width), or grey (1, 1, ...), float32 in [0, 1].

    Transparent places say nothing, as black ones do.
    """
    grey = isinstance(control.network, PictureAdapter) and control.network.config.channels == 1
    picture = images.in_mode(control.picture, "L" if grey else "RGB", "black")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, dtype=np.float32) / 255
    return torch.from_numpy(pixels.reshape(height, width, -1)).permute(2, 0, 1)[None]


def _times(control: Control, plan: Plan) -> tuple[float, float]:
    """The times (after, until) of the steps of the share that the control asks for, as diffusers counts them."""
    steps = len(plan)
    heard = [i for i in range(steps) if i / steps >= control.start and (i + 1) / steps <= control.end]
    if not heard:
        return math.inf, -math.inf
    times = [float(plan.schedule.network_time(level)) for level in plan.levels[:-1]]
    slack = 1e-6 * max(times)  # times reach the network in float32
    after = times[heard[-1] + 1] + slack if heard[-1] + 1 < steps else -math.inf
    return after, times[heard[0]] + slack if heard[0] else math.inf
