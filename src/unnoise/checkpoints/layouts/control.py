"""A ControlNet as diffusers and as the original code name it: the UNet's own names, and a few more."""

from __future__ import annotations

from collections.abc import Callable

from unnoise.checkpoints.layouts import unet
from unnoise.checkpoints.layouts.layout import Layout, renamer
from unnoise.networks.unet import UNetConfig

_DIFFUSERS = [
    (r"^zero_middle\.", r"controlnet_mid_block."),
    (r"^zero\.", r"controlnet_down_blocks."),
]
_ORIGINAL = [
    (r"^zero_middle\.", r"middle_block_out.0."),
    (r"^zero\.(\d+)\.", r"zero_convs.\1.0."),
]


def diffusers(linear_projection: bool, hints: int = 8) -> Layout:
    """Of a folder. hints: number of convolutions over the picture."""
    more = renamer(_DIFFUSERS)

    def rename(name: str) -> str:
        if not name.startswith("hint."):
            return more(name)
        _, number, leaf = name.split(".")
        ends = {0: "conv_in", hints - 1: "conv_out"}
        return f"controlnet_cond_embedding.{ends.get(int(number), f'blocks.{int(number) - 1}')}.{leaf}"

    return _beside(unet.diffusers(linear_projection), rename)


def original(config: UNetConfig, linear_projection: bool, prefix: str) -> Layout:
    """Of a single file."""
    more = renamer(_ORIGINAL)

    def rename(name: str) -> str:
        if not name.startswith("hint."):
            return more(name)
        _, number, leaf = name.split(".")
        return f"input_hint_block.{2 * int(number)}.{leaf}"  # between two convolutions stands an activation

    return _beside(unet.original(config, linear_projection, prefix), rename)


def _beside(base: Layout, rename: Callable[[str], str]) -> Layout:
    """A ControlNet's own names by `rename`, those that it leaves as they are by the UNet's layout."""

    def both(name: str) -> str:
        own = rename(name)
        return base.rename(name) if own == name else own

    return Layout(both, base.prefix, base.pixels)
