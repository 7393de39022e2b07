"""A ControlNet as diffusers and as the original code name it: the UNet's own names, and a few more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
    ends = {0: "conv_in", hints - 1: "conv_out"}

    def hint(number: int) -> str:
        return f"controlnet_cond_embedding.{ends.get(number, f'blocks.{number - 1}')}"

    return _beside(unet.diffusers(linear_projection), _DIFFUSERS, hint)


def original(config: UNetConfig, linear_projection: bool, prefix: str) -> Layout:
    """Of a single file."""

    def hint(number: int) -> str:
        return f"input_hint_block.{2 * number}"  # between two convolutions stands an activation

    return _beside(unet.original(config, linear_projection, prefix), _ORIGINAL, hint)


def _beside(base: Layout, rules: list[tuple[str, str]], hint: Callable[[int], str]) -> Layout:
    """A ControlNet's own names, its convolutions over the picture by `hint`; the others by the UNet's layout."""
    own = renamer(rules)

    def rename(name: str) -> str:
        if name.startswith("hint."):
            _, number, leaf = name.split(".")
            return f"{hint(int(number))}.{leaf}"
        return own(name) if name.startswith("zero") else base.rename(name)

    return replace(base, rename=rename)
