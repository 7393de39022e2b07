"""A ControlNet or T2I-Adapter from a diffusers folder, or from a single file in the original layout."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from PIL import Image

from unnoise import images
from unnoise.checkpoints import hub, layouts, picture_adapter
from unnoise.checkpoints import shapes as told
from unnoise.checkpoints.adapters.asked import exact
from unnoise.checkpoints.blueprint import Part, fill
from unnoise.checkpoints.configs import unet_config
from unnoise.checkpoints.diffusers_folder import weight_files
from unnoise.checkpoints.families import BY_WIDTH, SHORT
from unnoise.checkpoints.hashes import DIGITS, picture_sha256, sha256_of
from unnoise.checkpoints.kinds import CONTROL, PICTURE_ADAPTER, other
from unnoise.checkpoints.layouts import Shape
from unnoise.checkpoints.locations import find_control
from unnoise.checkpoints.manifest import check_numbers, making_sense
from unnoise.checkpoints.needed import ALONE
from unnoise.checkpoints.shapes import Shapes, inside, listed
from unnoise.checkpoints.weights import open_weights
from unnoise.errors import CheckpointError, InputError
from unnoise.files import expanded, read_table
from unnoise.limits import Declared, Share
from unnoise.networks.unet import (
    ControlNet,
    ControlNetConfig,
    PictureAdapter,
    PictureAdapterConfig,
    UNetConfig,
)

if TYPE_CHECKING:
    from unnoise.checkpoints.model import Model

_PREFIX = "control_model."
_COND = "controlnet_cond_embedding"
_CLASS = "ControlNetModel"
# Settings of a ControlNet that no UNet has, with the only value that is computed here.
_FIXED = {
    "controlnet_conditioning_channel_order": "rgb",
    "global_pool_conditions": False,
    "conditioning_channels": 3,
}
_HINTS = "conditioning_embedding_out_channels"


@dataclass(frozen=True, eq=False)
class Control(Declared):
    """A ControlNet or T2I-Adapter, the picture that it steers by, and how much of it is heard.

    strength: factor of all that it adds. start, end: shares of the steps before which and after which it is silent.
    name: of its file or folder. files: of its weights.
    """

    network: ControlNet | PictureAdapter
    picture: Image.Image
    strength: Annotated[float, (0.0, 2.0)] = 1.0
    start: Share = 0.0
    end: Share = 1.0
    name: str = ""
    files: tuple[Path, ...] = ()

    @property
    def told(self) -> str:
        """As recipes keep it: name, strength, the beginnings of two hashes, and the share of steps if not all."""
        share = "" if (self.start, self.end) == (0.0, 1.0) else f":{exact(self.start)}-{exact(self.end)}"
        hashes = f"{self.sha256[:DIGITS]}:{self.picture_sha256[:DIGITS]}"
        return f"control {self.name}:{exact(self.strength)}:{hashes}{share}"

    @property
    def sha256(self) -> str:
        """Of its weights' files, read when asked for; "" where they are gone."""
        try:
            return sha256_of(*self.files) if self.files else ""
        except OSError:
            return ""

    @cached_property
    def picture_sha256(self) -> str:
        """Of the picture's pixels."""
        return picture_sha256(self.picture)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.start < self.end <= 1:
            raise InputError(
                f"start and end are {self.start} and {self.end}; give shares of the steps, such as 0 and 0.8."
            )


def with_control(
    model: Model,
    path: str | Path,
    picture: Image.Image | str | Path,
    strength: float = 1.0,
    start: float = 0.0,
    end: float = 1.0,
) -> Model:
    """The model with one more ControlNet or T2I-Adapter beside its UNet, in the UNet's type and place.

    Raises CheckpointError for a file that is neither or is of another family.
    """
    picture = images.open_picture(expanded(picture)) if isinstance(picture, str | Path) else picture
    part = read(path, model.network.config)
    _check_family(path, part, model)
    network = fill(part, model.network.dtype, model.device)
    assert isinstance(network, ControlNet | PictureAdapter)
    control = Control(network, picture, strength, start, end, Path(path).name, part.files)
    return model.changed(controls=(*model.controls, control))


def read(path: str | Path, unet: UNetConfig | None = None) -> Part:
    """What the folder, file or address of the hub is, not yet loaded.

    unet: of the network to be steered, by which a file in diffusers' names is read where no `config.json` stands
    beside it. Raises CheckpointError for anything but a ControlNet or T2I-Adapter.
    """
    asked, place = hub.address(path), find_control(path)
    if not os.path.isdir(place):
        return _file(place, unet)
    table = read_table(place / "config.json")
    adapter = table.get("_class_name") == picture_adapter.CLASS
    part = picture_adapter.of_folder(place, table) if adapter else _described(place, table)
    return replace(part, files=weight_files(place, ALONE, "" if asked is None else asked.variant))


def _described(folder: Path, table: Mapping[str, Any]) -> Part:
    """A ControlNet whose `config.json` is this table; its files are not looked for."""
    if table.get("_class_name") != _CLASS:
        raise CheckpointError(
            f"'{folder}' holds a {str(table.get('_class_name'))[:80]!r}; a {_CLASS} or {picture_adapter.CLASS} was "
            "expected."
        )
    with making_sense(f"'{folder / 'config.json'}' does not describe a ControlNet"):
        check_numbers(table)
        unet, linear = unet_config(_as_unet(table))
        config = ControlNetConfig(unet, (3, *map(int, table.get(_HINTS, (16, 32, 96, 256)))))
    layout = layouts.control.diffusers(linear, 2 * len(config.hints) - 2)
    return Part(config, layout, (), folder)


def _as_unet(table: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in _FIXED.items():
        if table.get(name, value) != value:
            raise InputError(f"{name} is {table[name]!r}; only {value!r} is computed here.")
    own = {name: value for name, value in table.items() if name not in (*_FIXED, _HINTS)}
    up = [kind.replace("Down", "Up") for kind in reversed(table["down_block_types"])]
    return {**own, "up_block_types": up, "out_channels": table["in_channels"]}


def _file(path: Path, unet: UNetConfig | None) -> Part:
    shapes = open_weights([path]).shapes
    if (what := other(shapes)) not in (None, CONTROL, PICTURE_ADAPTER):
        raise CheckpointError(f"'{path}' is {what}; give a file of a ControlNet or T2I-Adapter.")
    if what == PICTURE_ADAPTER:
        return picture_adapter.of_file(path, shapes)
    with making_sense(f"'{path}' is no ControlNet that can be built"):
        if f"{_COND}.conv_in.weight" in shapes:
            return _in_diffusers_names(path, shapes, unet)
        return _in_original_names(path, shapes)


def _in_original_names(path: Path, shapes: Shapes) -> Part:
    prefix = _PREFIX if any(name.startswith(_PREFIX) for name in shapes) else ""
    own = inside(shapes, prefix)
    if "input_hint_block.0.weight" not in own:
        raise CheckpointError(
            f"'{path}' is no ControlNet or T2I-Adapter; give a file of one, or the folder that diffusers wrote."
        )
    entry = own.get("input_blocks.0.0.weight", (0, 4))
    hints = _hints([own[name] for name in listed(own, "input_hint_block.{}.weight", 2)])
    config = ControlNetConfig(told.unet_config({**own, "out.2.weight": (entry[1], 0)}), hints)
    layout = layouts.control.original(config.unet, told.linear_projection(own), prefix)
    return Part(config, layout, (path,), path)


def _in_diffusers_names(path: Path, shapes: Shapes, unet: UNetConfig | None) -> Part:
    """By `config.json` where it is of a ControlNet, else as one for this UNet."""
    description = path.parent / "config.json"
    table = read_table(description) if description.is_file() else {}
    if table.get("_class_name") == _CLASS:
        return replace(_described(path.parent, table), files=(path,), where=path)
    first, last = shapes[f"{_COND}.conv_in.weight"], shapes.get(f"{_COND}.conv_out.weight", ())
    between = [shapes[name] for name in listed(shapes, _COND + ".blocks.{}.weight")]
    hints, text = _hints([first, *between, last]), told.text_width(shapes)
    widths = tuple(shapes[name][0] for name in listed(shapes, "down_blocks.{}.resnets.0.conv1.weight"))
    if unet is None or (text, widths) != (unet.text_width, unet.widths):
        raise CheckpointError(
            f"'{path}' is a ControlNet for {BY_WIDTH.get(text, 'another model')} (text of width {text}, levels "
            f"{widths}) in diffusers' names. Use one for the loaded model, or put its config.json beside it."
        )
    config = ControlNetConfig(replace(unet, in_channels=unet.out_channels), hints)
    layout = layouts.control.diffusers(told.linear_projection(shapes), 2 * len(config.hints) - 2)
    return Part(config, layout, (path,), path)


def _hints(convolutions: Sequence[Shape]) -> tuple[int, ...]:
    """Channels of the picture and of each level, of convolutions of which every second makes it smaller."""
    first, levels = convolutions[0], convolutions[2:-1:2]
    return (first[1], first[0], *(shape[0] for shape in levels))


def _check_family(path: str | Path, part: Part, model: Model) -> None:
    loaded = SHORT.get(str(model.card.get("family", "")), model.name or "another model")
    ours = model.network.config
    if isinstance(part.config, PictureAdapterConfig):
        reason = picture_adapter.misfit(part.config, ours, model.factor)
        if reason:
            raise CheckpointError(
                f"T2I-Adapter '{Path(path).name}' {reason}. Use a T2I-Adapter for {loaded}."
            )
        return
    assert isinstance(part.config, ControlNetConfig)
    theirs = part.config.unet
    if _shape(theirs) == _shape(ours):
        return
    family = BY_WIDTH.get(theirs.text_width, "another model")
    raise CheckpointError(
        f"ControlNet '{Path(path).name}' fits {family} (text of width {theirs.text_width}, levels {theirs.widths}); "
        f"the loaded model is {loaded} ({ours.text_width}, {ours.widths}). "
        f"Use a ControlNet for {loaded} or load {family}."
    )


def _shape(config: UNetConfig) -> tuple[object, ...]:
    each = [config.blocks_at(level) for level in range(len(config.widths))]
    return config.text_width, config.widths, each, config.attention, config.pooled_width, config.in_channels
