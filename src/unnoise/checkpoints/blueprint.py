"""A model of another program: what its file says it is, before any weight is read; and reading the weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unnoise.checkpoints.building import check_dtype, outline, uncollected, unfilled
from unnoise.checkpoints.families import REFINER, Family
from unnoise.checkpoints.header import some, unlike
from unnoise.checkpoints.layouts import Layout, Shape, pour
from unnoise.checkpoints.manifest import Defaults
from unnoise.checkpoints.model import Model, Tower, beside
from unnoise.checkpoints.weights import DTYPES, Weights, open_weights
from unnoise.errors import CheckpointError, InputError
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.networks.unet import (
    ControlNet,
    ControlNetConfig,
    PictureAdapter,
    PictureAdapterConfig,
    UNet,
    UNetConfig,
)
from unnoise.networks.vae import AutoEncoder, AutoEncoderConfig
from unnoise.process import NoiseSchedule
from unnoise.text import PromptTokenizer

Config = UNetConfig | AutoEncoderConfig | TextEncoderConfig | ControlNetConfig | PictureAdapterConfig


@dataclass(frozen=True)
class Part:
    """One network: its configuration, the names of its tensors, the files that hold them.

    where: how messages call the file or folder.
    """

    config: Config
    layout: Layout
    files: tuple[Path, ...]
    where: Path


_NETWORKS: dict[type, Callable[[Any], nn.Module]] = {
    UNetConfig: UNet,
    AutoEncoderConfig: AutoEncoder,
    TextEncoderConfig: TextEncoder,
    ControlNetConfig: ControlNet,
    PictureAdapterConfig: PictureAdapter,
}
_SPARE: dict[Config, nn.Module] = {}
"""Outlines whose shapes were read, for the first who fills them: building one takes a tenth of a second."""


def _outline(config: Config) -> nn.Module:
    return outline(lambda: _NETWORKS[type(config)](config))


@lru_cache(maxsize=16)
def shapes_of(config: Config) -> Mapping[str, Shape]:
    """Our tensors by name."""
    if len(_SPARE) > 3:
        _SPARE.clear()
    network = _SPARE[config] = _outline(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@dataclass(frozen=True, eq=False)
class Blueprint:
    """A Stable Diffusion model in files of another program, accounted for but not loaded.

    kind: its family. parts: "network", "autoencoder", then the text encoders "text_encoder", "text_encoder_2".
    tokenizers: one for each text encoder. unused: pattern of names that such files hold and no network needs. size:
    height and width of the latents it was trained on. name: of the file or folder. hashed: the file whose sha256 names
    the model.
    """

    kind: Family
    parts: Mapping[str, Part]
    tokenizers: tuple[PromptTokenizer, ...]
    schedule: NoiseSchedule
    prediction: str
    size: tuple[int, int]
    unused: str
    name: str
    hashed: Path

    @property
    def family(self) -> str:
        """The family's name."""
        return self.kind.name

    @property
    def defaults(self) -> Defaults:
        """What the family's pictures are made with when nothing else is asked."""
        return self.kind.defaults

    @property
    def unet(self) -> UNetConfig:
        """The network's configuration."""
        config = self.parts["network"].config
        assert isinstance(config, UNetConfig)
        return config

    @property
    def autoencoder(self) -> AutoEncoderConfig:
        """The autoencoder's configuration."""
        config = self.parts["autoencoder"].config
        assert isinstance(config, AutoEncoderConfig)
        return config

    def parameters(self) -> dict[str, int]:
        """Numbers in each part."""
        return {
            name: sum(map(math.prod, shapes_of(part.config).values())) for name, part in self.parts.items()
        }

    @property
    def unit(self) -> int:
        """As the model's, run by torch: height and width of its pictures are multiples of so many pixels."""
        return self.unet.unit * self.autoencoder.factor

    def facts(self) -> dict[str, Any]:
        """What a person wants to know of it, as plain values."""
        height, width = (side * self.autoencoder.factor for side in self.size)
        channels = self.unet.out_channels
        more = self.unet.in_channels - channels
        kind, shown = {
            0: ("", " and a picture (--init)" if self.kind is REFINER else ""),
            channels: (", editing", " and a picture (--init)"),
        }.get(more, (", inpainting", ", a picture and a mask (--init, --mask)"))
        size = sum(self.parameters().values()) / 1e9
        memory = f"{2 * size:.3g} GB of memory for its weights in bfloat16, {4 * size:.3g} in float32"
        return {
            "family": self.family + kind,
            "predicts": self.prediction,
            "pictures": f"{width}x{height}",
            "schedule": self.schedule.config(),
            "defaults": asdict(self.defaults),
            "needs": f"a prompt{shown}; {memory}",
            "parts": self.parameters(),
        }

    def check(self) -> None:
        """Account for every tensor by its name and shape, without reading it.

        Raises CheckpointError with the names of those that are missing, extra or of another shape.
        """
        self._opened()

    @uncollected()
    def load(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Model:
        """The model, each tensor read from its place straight into its final one.

        Raises CheckpointError as `check`, and for numbers that are not finite; InputError for another dtype than
        networks compute in.
        """
        check_dtype(dtype)
        opened = self._opened()
        return self._model(
            {
                name: _filled(part, weights, dtype, device)
                for weights, parts in opened
                for name, part in parts.items()
            }
        )

    def _opened(self) -> list[tuple[Weights, dict[str, Part]]]:
        """Each set of files with the parts in it, all of them accounted for before any is read."""
        by_files: dict[tuple[Path, ...], dict[str, Part]] = {}
        for name, part in self.parts.items():
            by_files.setdefault(part.files, {})[name] = part
        found = [(open_weights(files), parts) for files, parts in by_files.items()]
        for weights, parts in found:
            _account(list(parts.values()), weights, self.unused)
        return found

    def _model(self, built: Mapping[str, nn.Module]) -> Model:
        network, autoencoder = built["network"], built["autoencoder"]
        assert isinstance(network, UNet)
        assert isinstance(autoencoder, AutoEncoder)
        encoders = [built[name] for name in self.parts if name.startswith("text")]
        first, *more = (
            Tower(encoder, tokenizer, self.kind.skip)
            for encoder, tokenizer in zip(encoders, self.tokenizers, strict=True)
            if isinstance(encoder, TextEncoder)
        )
        try:
            model = Model(
                network=network,
                schedule=self.schedule,
                shape=(autoencoder.config.latent_channels, *self.size),
                prediction=self.prediction,
                text_encoder=first.encoder,
                tokenizer=first.tokenizer,
                defaults=self.defaults,
                card={"family": self.family},
                name=self.name,
                hashed=self.hashed,
                autoencoder=autoencoder,
                text_skip=first.skip,
                more_text=tuple(more),
            )
            model.diffuser  # noqa: B018 - checks that schedule and prediction belong together
        except InputError as error:
            raise CheckpointError(f"the parts of '{self.hashed}' do not fit together: {error}") from error
        return model


def fill(part: Part, dtype: torch.dtype, device: torch.device | str, unused: str = "(?!)") -> nn.Module:
    """The network of one part alone, every tensor accounted for and read straight into its place.

    unused: pattern of names that are no fault. Raises CheckpointError as `Blueprint.load`.
    """
    weights = open_weights(part.files)
    _account([part], weights, unused)
    return _filled(part, weights, dtype, device)


def _account(parts: Sequence[Part], weights: Weights, unused: str) -> None:
    wanted: dict[str, Shape] = {}
    for part in parts:
        wanted |= part.layout.shapes(shapes_of(part.config))
    where, infos = parts[0].where, weights.infos
    known = re.compile(unused)
    held = dict.fromkeys(name for name in infos if name in wanted or not known.fullmatch(name))
    fault = unlike(wanted, held)
    if fault:
        raise CheckpointError(
            f"'{where}' cannot be accounted for: it {fault}. Fetch the whole file again, or one that is not merged "
            "with something else."
        )
    for name, shape in wanted.items():
        found, dtype = infos[name].shape, infos[name].dtype
        if _plain(found) != _plain(shape) or dtype not in DTYPES:
            raise CheckpointError(
                f"'{where}': tensor {name!r} is {dtype} of shape {list(found)}; {list(shape)} in one of "
                f"{', '.join(DTYPES)} was expected. Fetch the file again."
            )


def _plain(shape: Shape) -> Shape:
    """Without trailing ones: programs differ in whether a linear layer over pixels is a 1x1 convolution."""
    return shape[:-2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


def _filled(part: Part, weights: Weights, dtype: torch.dtype, device: torch.device | str) -> nn.Module:
    spare = _SPARE.pop(part.config, None)
    network = unfilled(spare or _outline(part.config), dtype, device)
    for name, tensor in network.state_dict().items():
        source = part.layout.source(name)
        if not pour(source, tensor, weights.take):
            raise CheckpointError(
                f"'{part.where}': {some(source.names)} holds numbers that are not finite, or too large for "
                f"{str(tensor.dtype).removeprefix('torch.')}. Fetch the file again, or load with dtype=torch.float32."
            )
    return network


def check_channels(where: Path, config: UNetConfig) -> None:
    """Raises CheckpointError for a network that sees what no pipeline here can show it."""
    more = config.in_channels - config.out_channels
    if more not in beside(config.out_channels):
        raise CheckpointError(
            f"'{where}' takes {config.in_channels} channels and gives {config.out_channels}; known are "
            "4 (plain), 8 (instruct-pix2pix) and 9 (inpainting) for 4. Use another form of the model."
        )


def sinusoid_width(parts: Mapping[str, Part], sizes: int) -> int:
    """Width of the sinusoids of each of the numbers that XL is told; CheckpointError where the widths leave none."""
    network, encoder = parts["network"].config, parts["text_encoder_2"].config
    assert isinstance(network, UNetConfig)
    assert isinstance(encoder, TextEncoderConfig)
    pooled = encoder.projection or encoder.width
    left = network.pooled_width - pooled
    if left <= 0 or left % (2 * sizes):
        raise CheckpointError(
            f"'{parts['network'].where}': the network reads a vector of {network.pooled_width} beside the time; the "
            f"text encoder's {pooled} and {sizes} numbers cannot make it up. Fetch the model again."
        )
    return left // sizes
