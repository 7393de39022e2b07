"""How other programs name the tensors of our networks: rules, both ways, without loss."""

from unnoise.checkpoints.layouts import autoencoder, control, picture_adapter, text, unet
from unnoise.checkpoints.layouts.layout import Layout, Shape, Source, pour, spread

__all__ = [
    "Layout",
    "Shape",
    "Source",
    "autoencoder",
    "control",
    "picture_adapter",
    "pour",
    "spread",
    "text",
    "unet",
]
