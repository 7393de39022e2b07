"""Full fine-tuning: every weight of a model's network, and if asked of its text encoders, learns on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from unnoise import checkpoints
from unnoise.checkpoints import Model
from unnoise.checkpoints.adapters.places import TEXT_PARTS
from unnoise.checkpoints.conversion import convert_with
from unnoise.training.checkpoints import discard
from unnoise.training.config import TrainConfig
from unnoise.training.profiles import average_of
from unnoise.training.tuning import Tuning, idle
from unnoise.training.tuning_config import FinetuneConfig

Network = TypeVar("Network", bound=nn.Module)


class WholeTuning(Tuning):
    """The base's own networks learn; what it was stands in its files, from which an export takes all that did not."""

    file = "model"

    def __init__(self, base: Model, source: str, reads: bool) -> None:
        self.base = self.model = base
        self.source, self.reads = source, reads
        parts: dict[str, nn.Module] = {"network": base.network}
        if reads:
            parts |= {name: tower.encoder for name, tower in zip(TEXT_PARTS, base.towers, strict=False)}
        self.parts = parts
        self.learned: nn.Module = nn.ModuleDict(parts).requires_grad_(True)
        for part, beginning in idle(base) if reads else ():
            for name, weight in parts[part].named_parameters():
                weight.requires_grad_(not name.startswith(beginning))

    @property
    def small(self) -> bool:
        """A model of ours is; a checkpoint of Stable Diffusion is not."""
        return self.base.autoencoder is None

    def averaged(self, tensors: Mapping[str, Tensor]) -> Model:
        """A copy of the model with these weights."""
        network = self._copy(self.base.network, "network", tensors)
        towers = list(self.base.towers)
        for place, name in enumerate(TEXT_PARTS[: len(towers)] if self.reads else ()):
            encoder = self._copy(towers[place].encoder, name, tensors)
            towers[place] = replace(towers[place], encoder=encoder)
        first = towers[0].encoder if towers else None
        return replace(self.base, network=network, text_encoder=first, more_text=tuple(towers[1:]))

    def write(self, path: Path, tensors: Mapping[str, Tensor], config: TrainConfig, pictures: int) -> Path:
        """Write a model folder of ours, or a diffusers folder; one that is there already gives way."""
        discard(path)
        if self.small:
            return checkpoints.save(self.averaged(tensors), path)
        values = {
            (part, name): t for part in self.parts for name, t in average_of(tensors, f"{part}.").items()
        }
        return convert_with(self.source, path, values)

    def _copy(self, module: Network, part: str, tensors: Mapping[str, Tensor]) -> Network:
        made = copy.deepcopy(module)
        made.load_state_dict(average_of(tensors, f"{part}."))
        return made.eval().requires_grad_(False)


def begin(config: FinetuneConfig, base: Model) -> WholeTuning:
    """All of the network's weights, and if asked the text encoders', as they are now."""
    for part in (base.network, *(tower.encoder for tower in base.towers)):
        assert part is not None
        part.requires_grad_(False)
        assert next(part.parameters()).dtype == torch.float32  # what learns is kept in full precision
    return WholeTuning(base, config.model, config.text_encoder)
