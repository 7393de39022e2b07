"""A miniature of Stable Diffusion 1 in a single file of random numbers, and adapters of it, made by our own classes."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from unnoise.checkpoints import layouts
from unnoise.networks import AutoEncoder, AutoEncoderConfig, TextEncoder, TextEncoderConfig, UNet, UNetConfig
from unnoise.networks.unet import ControlNet, ControlNetConfig
from unnoise.randomness import normal

UNET = UNetConfig(
    in_channels=4, out_channels=4, widths=(32, 64), blocks=1, attention=(1, 0), heads=8, text_width=64
)
VAE = AutoEncoderConfig(widths=(32, 32), blocks=1)
TEXT = TextEncoderConfig(width=64, layers=2, heads=1)


def stirred(network: nn.Module) -> nn.Module:
    """Starting weights end in zeros, which would make every prompt alike."""
    network.eval().requires_grad_(False)
    for place, weight in enumerate(network.parameters()):
        fresh = normal(0, "miniature", place, shape=weight.shape)
        weight.copy_(fresh * 0.3 + 0.5 if weight.ndim == 1 else fresh * weight[0].numel() ** -0.5)
    return network


def tensors(unet: UNetConfig = UNET) -> dict[str, Tensor]:
    """Of the whole checkpoint."""
    found: dict[str, Tensor] = {}
    for network, layout in (
        (UNet(unet), layouts.unet.original(unet, False)),
        (AutoEncoder(VAE), layouts.autoencoder.original(2)),
        (TextEncoder(TEXT), layouts.text.transformers("cond_stage_model.transformer.")),
    ):
        found |= layouts.spread(layout, stirred(network).state_dict())
    return {name: tensor.contiguous().clone() for name, tensor in found.items()}


def checkpoint(path: Path) -> Path:
    """Pictures of multiples of 4 pixels."""
    save_file(tensors(), path)
    return path


def control(path: Path) -> Path:
    """A ControlNet of it."""
    network = stirred(ControlNet(ControlNetConfig(UNET, (3, 16, 32))))
    layout = layouts.control.original(UNET, False, "control_model.")
    found = layouts.spread(layout, network.state_dict())
    save_file({name: tensor.contiguous().clone() for name, tensor in found.items()}, path)
    return path


def word(path: Path, seed: int = 1) -> Path:
    """An embedding of two vectors, as A1111 writes it."""
    save_file({"emb_params": normal(seed, "word", shape=(2, 64))}, path)
    return path
