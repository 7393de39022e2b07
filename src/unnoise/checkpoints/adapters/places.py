"""Every layer of a model that an adapter can change, under every name that programs have for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from unnoise.checkpoints.adapters.names import Layer
from unnoise.checkpoints.blueprint import Config, shapes_of
from unnoise.checkpoints.layouts import Layout, Shape, text, unet
from unnoise.checkpoints.model import Model
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.networks.unet import UNetConfig


@dataclass(frozen=True)
class Place:
    """A weight, or an equal share of its rows: queries, keys and values are one weight here and three elsewhere.

    part: "network", "text_encoder" or "text_encoder_2". name: of the tensor. start: its first row. shape: of the share.
    """

    part: str
    name: str
    start: int
    shape: Shape

    @property
    def rows(self) -> slice:
        """Of the tensor."""
        return slice(self.start, self.start + self.shape[0])


def parts_of(model: Model) -> dict[str, Config]:
    """The configurations of a model's networks, by the name of the part."""
    return {name: part.config for name, part in model.parts.items()}


def places(parts: Mapping[str, Config]) -> dict[Layer, Place]:
    """By name, the layers that these configurations describe; the autoencoder has none."""
    found: dict[Layer, Place] = {}
    for part, config in parts.items():
        for layout in _layouts(config):
            found.update(_of(part, config, layout))
    return found


def names_for(parts: Mapping[str, Config]) -> dict[Place, str]:
    """What kohya's tools call each layer of a Stable Diffusion model; of another, the key of our own name."""
    found: dict[Place, str] = {}
    first = "lora_te1_" if "text_encoder_2" in parts else "lora_te_"
    prefixes = {"network": "lora_unet_", "text_encoder": first, "text_encoder_2": "lora_te2_"}
    for part, config in parts.items():
        for layout in _layouts(config)[-1:]:  # that to write, of networks that adapters change
            found |= {place: prefixes[part] + layer.key for layer, place in _of(part, config, layout)}
    return found


def _of(part: str, config: Config, layout: Layout) -> Iterator[tuple[Layer, Place]]:
    for name, shape in shapes_of(config).items():
        if len(shape) < 2 or not name.endswith(".weight") or "embedding.weight" in name:
            continue
        sources = layout.source(name).names
        rows = shape[0] // len(sources)
        for number, theirs in enumerate(sources):
            key = theirs.removesuffix(".weight").replace(".", "_")
            yield Layer(part, key), Place(part, name, number * rows, (rows, *shape[1:]))


def _layouts(config: Config) -> list[Layout]:
    """The ways to spell a network's layers; the last is the one to write."""
    own = Layout(lambda name: name)
    if isinstance(config, TextEncoderConfig):
        return [own, text.transformers(text_model=False), text.transformers()]
    if not isinstance(config, UNetConfig):
        return []
    if not config.text_width:
        return [own]
    # whether a projection is a convolution does not matter to its name
    theirs, original = unet.diffusers(linear_projection=True), unet.original(config, True, prefix="")
    # kohya's tools train XL in the original layout, and 1 and 2 in that of diffusers
    return [own, theirs, original] if config.pooled_width else [own, original, theirs]
