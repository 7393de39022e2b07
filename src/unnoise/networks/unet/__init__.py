"""One UNet for the DDPM, ADM and Stable Diffusion lineages, and for small ones of our own."""

from unnoise.networks.unet import published
from unnoise.networks.unet.attention import TextMemory
from unnoise.networks.unet.blocks import DownBlock, MidBlock, UpBlock
from unnoise.networks.unet.config import UNetConfig
from unnoise.networks.unet.control import ControlNet, ControlNetConfig, Guide, Steered
from unnoise.networks.unet.merging import Merging, with_merging
from unnoise.networks.unet.picture_adapter import PictureAdapter, PictureAdapterConfig
from unnoise.networks.unet.reuse import Reusing
from unnoise.networks.unet.unet import Residuals, UNet, UNetOutput

__all__ = [
    "ControlNet",
    "ControlNetConfig",
    "DownBlock",
    "Guide",
    "Merging",
    "MidBlock",
    "PictureAdapter",
    "PictureAdapterConfig",
    "Residuals",
    "Reusing",
    "Steered",
    "TextMemory",
    "UNet",
    "UNetConfig",
    "UNetOutput",
    "UpBlock",
    "published",
    "with_merging",
]
