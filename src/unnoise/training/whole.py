"""All of a model's weights learn: a new model's from nothing, those of one that is there on from what they are."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from unnoise import checkpoints
from unnoise.checkpoints import Model
from unnoise.checkpoints.conversion import convert_with
from unnoise.training.checkpoints import discard
from unnoise.training.config import TrainConfig
from unnoise.training.profiles import average_of
from unnoise.training.tuning import Tuning, idle


class WholeTuning(Tuning):
    """The base's own networks learn: all of a new model, or without `reads` all but the text encoders of one.

    source: where the base was read; what it was stands in its files, from which an export takes all that did not learn.
    """

    file = "model"

    def __init__(self, base: Model, source: str = "", reads: bool = True) -> None:
        self.base = self.model = base
        self.source, self.reads, self.kept = source, reads, not source
        self.parts = base.parts if reads else {"network": base.network}
        self._hollow = _hollow(self.parts)
        for part in base.parts.values():
            part.requires_grad_(False)
        self.learned: nn.Module = nn.ModuleDict(self.parts).requires_grad_(True)
        if reads and base.text_encoder is not None:
            for name, weight in base.text_encoder.named_parameters():
                if name.startswith(idle(base)):
                    weight.requires_grad_(False)

    @property
    def small(self) -> bool:
        """A model of ours is; a checkpoint of Stable Diffusion is not."""
        return self.base.autoencoder is None

    def averaged(self, tensors: Mapping[str, Tensor]) -> Model:
        """The model with these weights, which it keeps."""
        made = copy.deepcopy(self._hollow)
        for name, part in made.items():
            part.load_state_dict(average_of(tensors, f"{name}."), assign=True)
            part.to(self.base.device).eval().requires_grad_(False)
        return self.base.with_parts(made)

    def write(self, path: Path, tensors: Mapping[str, Tensor], config: TrainConfig, pictures: int) -> Path:
        """Write a model folder of ours, or a diffusers folder; one that is there already gives way."""
        discard(path)
        if self.small:
            return checkpoints.save(self.averaged(tensors), path)
        values = {
            (part, name): t for part in self.parts for name, t in average_of(tensors, f"{part}.").items()
        }
        return convert_with(self.source, path, values)


def _hollow(parts: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The networks with weights that have a shape and no numbers: what averaged ones are put into.

    Made before anything is done to the networks for training's sake.
    """
    weights = [weight for part in parts.values() for weight in part.parameters()]
    empty: dict[int, object] = {id(w): nn.Parameter(torch.empty_like(w, device="meta")) for w in weights}
    return copy.deepcopy(dict(parts), empty)
