"""The networks: each is a `torch.nn.Module` that one frozen configuration describes."""

from unnoise.networks.hardware import fast_dtype
from unnoise.networks.packing import pack
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig, TextEncoding
from unnoise.networks.unet import DownBlock, MidBlock, TextMemory, UNet, UNetConfig, UNetOutput, UpBlock

__all__ = [
    "DownBlock",
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
    "pack",
]
