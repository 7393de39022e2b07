"""A model with adapters: a new one that shares every untouched weight with the old, which stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from unnoise.checkpoints.adapters import blocks
from unnoise.checkpoints.adapters.asked import Lora
from unnoise.checkpoints.adapters.fitting import Fitted, fit
from unnoise.checkpoints.adapters.live import Adapted, Share, changed
from unnoise.checkpoints.adapters.places import parts_of, places
from unnoise.checkpoints.adapters.reading import Adapter, read
from unnoise.checkpoints.model import Model
from unnoise.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Applied:
    """An adapter as it was asked for. live: kept beside the weights instead of merged into a copy of them."""

    adapter: Adapter
    asked: Lora
    live: bool = False

    @property
    def told(self) -> str:
        """File, weight and the beginning of the hash, as recipes keep them."""
        return f"{self.adapter.name}:{self.asked.weight:g}:{self.adapter.sha256[:10]}"


def adapt(
    model: Model,
    asked: Sequence[Lora | tuple[str | Path, float]],
    folder: str | Path | None = None,
    live: bool = False,
) -> Model:
    """The model with these adapters, beside those that it has.

    asked: `Lora`s, or pairs of a file (or a name in `folder`) and a weight. Every adapter's effect is that on the base
    weights: W + sum of weight effect(W), in float32, rounded once; their order does not matter. live: keep the small
    matrices beside the weights (no second copy, a little slower) instead of merging them. The model given is not
    changed; `model.base` of the new one is the model without adapters, with its own weights to the bit.

    Raises CheckpointError for a file that is no adapter or not one of this model's family, FileError for none.
    """
    wanted = [one if isinstance(one, Lora) else Lora(*one) for one in asked]
    new = [Applied(read(one.find(folder)), one, live) for one in wanted]
    return apply(model.base or model, (*model.adapters, *new))


def apply(base: Model, applied: Sequence[Applied]) -> Model:
    """`base` with these adapters; `base` itself without any."""
    if not applied:
        return base
    if base.base is not None:
        raise InputError("this model has adapters already; give its base.")
    shares: dict[tuple[bool, str, str], list[Share]] = {}
    for one in applied:
        for place, share in _shares(base, one):
            shares.setdefault((one.live, *place), []).append(share)
    networks = {"network": base.network, **_encoders(base)}
    twins = {part: twin(network) for part, network in networks.items()}
    # merged ones first, so that live ones stand beside what is merged
    for (live, part, name), parts in sorted(shares.items(), key=lambda item: item[0][0]):
        _change(twins[part], name, parts, live)
    return _with(base, twins, tuple(applied))


def merged_into(model: Model, applied: Sequence[Applied]) -> dict[tuple[str, str], list[Share]]:
    """The changes by part and tensor, for whoever holds the tensors."""
    found: dict[tuple[str, str], list[Share]] = {}
    for one in applied:
        for place, share in _shares(model, one):
            found.setdefault(place, []).append(share)
    return found


def _shares(model: Model, applied: Applied) -> list[tuple[tuple[str, str], Share]]:
    parts = parts_of(model)
    family = str(model.card.get("family", "")) or (f"'{model.name}'" if model.name else "")
    fitted = fit(applied.adapter, places(parts), family, model.network.config.text_width)
    return weighed(fitted, applied.asked, parts["network"])


def weighed(
    fitted: Sequence[Fitted], asked: Lora, config: blocks.Config
) -> list[tuple[tuple[str, str], Share]]:
    """Each change with its strength. config: of the UNet."""
    blocks.check(asked.blocks, [one.place for one in fitted])
    found = []
    for place, change in fitted:
        strength = asked.weight * blocks.factor(asked.blocks, place, config)
        share = Share(change, strength, place.start, place.start + place.shape[0])
        found.append(((place.part, place.name), share))
    return found


def twin(network: Network) -> Network:
    """A copy of the modules that shares every parameter and buffer with the original."""
    shared = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    return copy.deepcopy(network, shared)  # type: ignore[arg-type] - the memo's own meaning


@torch.no_grad()
def _change(network: nn.Module, name: str, shares: list[Share], live: bool) -> None:
    path, _, _ = name.rpartition(".")
    parent, _, leaf = path.rpartition(".")
    layer = network.get_submodule(path)
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    shares = [
        share._replace(change=copy.deepcopy(share.change).to(weight.device)) for share in shares if share.strength
    ]
    if live and shares:
        setattr(network.get_submodule(parent), leaf, Adapted(layer, shares))
    elif shares:
        layer.weight = nn.Parameter(changed(weight, shares), requires_grad=False)


def _encoders(model: Model) -> dict[str, nn.Module]:
    names = ("text_encoder", "text_encoder_2")
    return {name: tower.encoder for name, tower in zip(names, model.towers, strict=False)}


def _with(base: Model, networks: dict[str, nn.Module], applied: tuple[Applied, ...]) -> Model:
    more = tuple(
        replace(tower, encoder=networks.get("text_encoder_2", tower.encoder)) for tower in base.more_text
    )
    return replace(
        base,
        network=networks["network"],
        text_encoder=networks.get("text_encoder"),
        more_text=more,
        adapters=applied,
        base=base,
    )
