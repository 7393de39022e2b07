"""Latents -> pictures: the autoencoder's decoder, and a cheap linear look at a latent while it is being made."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name every PyTorch reader knows

from unnoise import images
from unnoise.checkpoints.model import Model
from unnoise.errors import NonFiniteError
from unnoise.networks.vae import AutoEncoder
from unnoise.randomness import normal

_SIDE, _PATCH = 16, 2


def decode(model: Model, x: Tensor) -> Tensor:
    """Pictures of clean samples: (batch, channels, height, width) float32 about [-1, 1].

    Pixels stay as they are; latents are decoded one by one, so that a picture never depends on its batch and memory
    is that of one. A decoder that leaves the finite numbers is asked once more in float32. Raises NonFiniteError
    when that does not help.
    """
    if model.autoencoder is None:
        return x
    return torch.cat([_decoded(model.autoencoder, latent) for latent in torch.split(x, 1)])


def _decoded(autoencoder: AutoEncoder, latent: Tensor) -> Tensor:
    latent = autoencoder.unscaled(latent.float())
    picture = autoencoder.decode(latent)
    if bool(torch.isfinite(picture).all()):
        return picture
    if autoencoder.dtype == torch.float16:
        autoencoder.float()
        try:
            picture = autoencoder.decode(latent)
        finally:
            autoencoder.half()
    if not bool(torch.isfinite(picture).all()):
        raise NonFiniteError(
            "the autoencoder left the finite numbers; no picture was made. One way on: load the model with "
            "dtype=torch.float32."
        )
    return picture


class Look:
    """A linear map from a latent to the mean colour of the pixels that it stands for.

    Fitted once, by least squares, to what the model's own decoder makes of a small latent of 256 places: for Stable
    Diffusion less than a sixteenth of the work of one 512x512 picture, once a run.
    """

    def __init__(self, model: Model) -> None:
        self.factor = model.factor
        self.map: Tensor | None = None if model.autoencoder is None else _fit(model.autoencoder)

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
    gram = known.t() @ known + 1e-3 * torch.eye(channels + 1, dtype=torch.float64)
    fitted: Tensor = torch.linalg.solve(gram, known.t() @ wanted)
    return fitted.float().to(device)


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
