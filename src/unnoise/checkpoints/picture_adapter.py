"""A T2I-Adapter from a diffusers folder, or from a single file in its authors' names or diffusers'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unnoise.checkpoints import layouts
from unnoise.checkpoints.blueprint import Part
from unnoise.checkpoints.manifest import check_numbers, making_sense
from unnoise.checkpoints.shapes import Shapes, inside, listed
from unnoise.errors import InputError
from unnoise.networks.unet import PictureAdapterConfig, UNetConfig

CLASS = "T2IAdapter"
_DIFFUSERS = "adapter."
_XL_FOLD, _BLOCKS = 16, 2


def of_folder(folder: Path, table: Mapping[str, Any]) -> Part:
    """Of a folder with this `config.json`; its files are not looked for.

    Raises CheckpointError for a kind or size that is not known.
    """
    kind, widths = table.get("adapter_type", "full_adapter"), table.get("channels", [320, 640, 1280, 1280])
    with making_sense(f"'{folder / 'config.json'}' does not describe a T2I-Adapter"):
        check_numbers(table)
        if kind not in ("full_adapter", "full_adapter_xl", "light_adapter"):
            raise InputError(f"adapter_type is {kind!r}; a full, XL or light one is read.")
        light = kind == "light_adapter"
        widths = tuple(map(int, [*widths, widths[-1]] if light else widths))
        config = PictureAdapterConfig(
            channels=int(table.get("in_channels", 3)),
            fold=int(table.get("downscale_factor", 8)),
            widths=widths,
            halves=(2,) if kind == "full_adapter_xl" else tuple(range(1, len(widths))),
            blocks=int(table.get("num_res_blocks", 2)),
            light=light,
        )
    return Part(config, layouts.picture_adapter.diffusers(), (), folder)


def of_file(path: Path, shapes: Shapes) -> Part:
    """Of a single file. Raises CheckpointError where its shapes are of no known adapter."""
    theirs = any(name.startswith(_DIFFUSERS) for name in shapes)
    own = inside(shapes, _DIFFUSERS) if theirs else shapes
    light = "conv_in.weight" not in own
    inner = "resnets" if theirs else "body"
    blocks = len(listed(own, f"body.0.{inner}.{{}}.block1.weight")) if light or theirs else _BLOCKS
    with making_sense(f"'{path}' is no T2I-Adapter that can be built"):
        entry = own["body.0.in_conv.weight" if light else "conv_in.weight"][1]
        last = "out_conv" if light else "resnets.0.block1" if theirs else "block1"
        every = 1 if light or theirs else _BLOCKS
        widths = [own[name][0] for name in listed(own, f"body.{{}}.{last}.weight", every)]
    # nothing but the number of channels tells XL's adapters, which fold larger squares, from the others
    fold = _XL_FOLD if entry % _XL_FOLD**2 == 0 else 8
    config = PictureAdapterConfig(
        channels=entry // fold**2,
        fold=fold,
        widths=tuple(widths),
        halves=(2,) if fold == _XL_FOLD else tuple(range(1, len(widths))),
        blocks=blocks,
        light=light,
    )
    layout = layouts.picture_adapter.diffusers() if theirs else layouts.picture_adapter.original(config)
    return Part(config, layout, (path,), path)


def misfit(config: PictureAdapterConfig, unet: UNetConfig, factor: int) -> str:
    """Why the adapter cannot steer this UNet on latents of `factor` pixels; empty where it can."""
    levels = unet.widths
    more = len(config.widths) - len(levels)
    wanted = (*levels, *levels[-1:] * more)
    fold = factor * (2 if more else 1)
    if config.widths == wanted and more in (0, 1) and config.fold == fold and config.channels in (1, 3):
        return ""
    return (
        f"has levels {config.widths} on squares of {config.fold} pixels; the loaded model's are {levels} on latents of "
        f"{factor} pixels"
    )
