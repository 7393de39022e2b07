"""The networks: each is a `torch.nn.Module` that one frozen configuration describes."""

from unnoise.networks.hardware import fast_dtype
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig, TextEncoding
from unnoise.networks.unet import DownBlock, MidBlock, TextMemory, UNet, UNetConfig, UNetOutput, UpBlock
from unnoise.networks.vae import AutoEncoder, AutoEncoderConfig, LatentGaussian

__all__ = [
    "AutoEncoder",
    "AutoEncoderConfig",
    "DownBlock",
    "LatentGaussian",
    "MidBlock",
    "TextEncoder",
    "TextEncoderConfig",
    "TextEncoding",
    "TextMemory",
    "UNet",
    "UNetConfig",
    "UNetOutput",
    "UpBlock",
    "fast_dtype",
]
