"""Pictures -> latents -> pictures: the autoencoder's halves, and a cheap linear look at a latent in the making."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from unnoise import images
from unnoise.checkpoints.model import Model
from unnoise.errors import NonFiniteError
from unnoise.networks.memory import free_memory
from unnoise.networks.vae import AutoEncoder
from unnoise.networks.vae_strips import decode_in_strips
from unnoise.pipelines.nonfinite import first_layer
from unnoise.randomness import normal

_SIDE, _PATCH = 16, 2
MAPS = 3.5


def picture_channels(model: Model) -> int:
    """Channels of a picture: 1 grey, 3 colours."""
    return model.shape[0] if model.autoencoder is None else model.autoencoder.config.channels


def encode(model: Model, pictures: Tensor, scaled: bool = True) -> Tensor:
    """Clean samples of pictures: (batch, channels, height, width) float32, pixels as they are or latents.

    pictures: in [-1, 1], sides multiples of the model's factor. Latents are the mean of what the encoder says, one by
    one, so that none depends on its batch or on a seed. scaled: in the units of the diffusion, not the autoencoder's.
    """
    pictures = pictures.to(model.device, torch.float32)
    if model.autoencoder is None:
        return pictures
    rows = [_finite(model.autoencoder, _encoded, picture) for picture in torch.split(pictures, 1)]
    latents = torch.cat(rows)
    return model.autoencoder.scaled(latents) if scaled else latents


def decode(model: Model, x: Tensor, tiled: bool | None = None) -> Tensor:
    """Pictures of clean samples: (batch, channels, height, width) float32 about [-1, 1].

    Pixels stay as they are; latents are decoded one by one, so that a picture never depends on its batch and memory
    is that of one. tiled: in strips, the same numbers slower and in less memory; None: where memory would not suffice.
    A decoder that leaves the finite numbers is asked once more in float32. Raises NonFiniteError when that does not
    help.
    """
    if model.autoencoder is None:
        return x
    if tiled is None:
        tiled = needs_strips(model.autoencoder, x.shape[2], x.shape[3], free_memory(x.device))
    return torch.cat([_decoded(model.autoencoder, latent, tiled) for latent in torch.split(x, 1)])


def needs_strips(autoencoder: AutoEncoder, height: int, width: int, free: int | None) -> bool:
    """Whether decoding latents of this size whole would take more than `free` bytes, as far as they are known.

    At its widest the decoder holds, for every pixel, about three maps of the second level's width.
    """
    config = autoencoder.config
    if free is None:
        return False
    numbers = MAPS * config.widths[min(1, len(config.widths) - 1)] * config.factor**2
    return numbers * height * width * autoencoder.dtype.itemsize > free


def _decoded(autoencoder: AutoEncoder, latent: Tensor, tiled: bool = False) -> Tensor:
    way = decode_in_strips if tiled else AutoEncoder.decode
    return _finite(autoencoder, way, autoencoder.unscaled(latent.float()))


def _encoded(autoencoder: AutoEncoder, picture: Tensor) -> Tensor:
    return autoencoder.encode(picture).mean


def _finite(autoencoder: AutoEncoder, way: Callable[[AutoEncoder, Tensor], Tensor], x: Tensor) -> Tensor:
    """What the autoencoder makes of x, by a copy of it in float32 where its own numbers do not suffice."""
    made = way(autoencoder, x)
    if not bool(torch.isfinite(made).all()) and autoencoder.dtype != torch.float32:
        # a copy: another thread may be decoding with the one that is shared
        made = way(copy.deepcopy(autoencoder).float(), x)
    if not bool(torch.isfinite(made).all()):
        layer = first_layer(autoencoder, lambda: way(autoencoder, x))
        raise NonFiniteError(
            f"the autoencoder left the finite numbers, in float32 too{layer}; no picture was made. One way on: lower "
            "the guidance, or fetch the model again."
        )
    return made


class Look:
    """A linear map from a latent to the mean colour of the pixels that it stands for.

    Fitted when first asked for, by least squares, to what the model's own decoder makes of a small latent of 256
    places: for Stable Diffusion less than a sixteenth of the work of one 512x512 picture, once a run.
    """

    def __init__(self, model: Model) -> None:
        self.factor = model.factor
        self._autoencoder = model.autoencoder

    @cached_property
    def map(self) -> Tensor | None:
        """(latent channels + 1, channels) float32; None for pixels."""
        return None if self._autoencoder is None else _fit(self._autoencoder)

    def __call__(self, x: Tensor) -> list[Image.Image]:
        """Pictures, in their full size, of latents or pixels (batch, channels, height, width)."""
        if self.map is None:
            return images.to_pil(x)
        colours = torch.einsum("bchw,ck->bkhw", _with_one(x.float()), self.map)
        small = images.to_pil(colours)
        size = (x.shape[3] * self.factor, x.shape[2] * self.factor)
        return [picture.resize(size, Image.Resampling.BICUBIC) for picture in small]


def _fit(autoencoder: AutoEncoder) -> Tensor:
    """(latent channels + 1, channels) float32."""
    channels, device = autoencoder.config.latent_channels, autoencoder.encoder.conv_in.weight.device
    few = normal(0, "look", shape=(1, channels, _SIDE // _PATCH, _SIDE // _PATCH))
    latent = F.interpolate(few, scale_factor=_PATCH, mode="nearest").to(device)
    picture = F.avg_pool2d(_decoded(autoencoder, latent), autoencoder.config.factor)
    known, wanted = (t.double().cpu()[0].flatten(1).t() for t in (_with_one(latent), picture))
    # A trace of ridge: a decoder that ignores a channel must not make the map leave all bounds.
    gram = known.t() @ known + 1e-3 * torch.eye(channels + 1, dtype=torch.float64, device="cpu")
    fitted: Tensor = torch.linalg.solve(gram, known.t() @ wanted)
    return fitted.float().to(device)


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
