"""A model with adapters: a new one that shares every untouched weight with the old, which stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from unnoise.checkpoints.adapters import blocks
from unnoise.checkpoints.adapters.asked import Asked, Lora, as_lora, exact
from unnoise.checkpoints.adapters.fitting import fit
from unnoise.checkpoints.adapters.live import Adapted, Share, changed
from unnoise.checkpoints.adapters.places import parts_of, places
from unnoise.checkpoints.adapters.reading import Adapter, read
from unnoise.checkpoints.blueprint import Config
from unnoise.checkpoints.hashes import DIGITS
from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.networks.unet import UNetConfig

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Applied:
    """An adapter as it was asked for. live: kept beside the weights instead of merged into a copy of them."""

    adapter: Adapter
    asked: Lora
    live: bool = False

    @property
    def told(self) -> str:
        """File, weight and the beginning of the numbers' hash, as recipes keep them; then factors of parts, if any."""
        blocks = self.asked.blocks
        shares = [f"{part}={x}" for part, x in blocks.items()] if isinstance(blocks, Mapping) else blocks
        told = f"{self.adapter.name}:{exact(self.asked.weight)}:{self.adapter.numbers_sha256[:DIGITS]}"
        return ":".join([told, *([",".join(map(str, shares))] if shares else [])])


def adapt(
    model: Model,
    asked: Sequence[Asked],
    folder: str | Path | None = None,
    live: bool = False,
) -> Model:
    """The model with these adapters, beside those that it has.

    asked: `Lora`s, files (or names in `folder`), or pairs of one and a weight. Every adapter's effect is that on the
    base weights: W + sum of weight effect(W), in float32, rounded once; their order does not matter. live: keep the
    small matrices beside the weights (no second copy, a little slower) instead of merging them. The model given is not
    changed; `model.base` of the new one is the model without adapters, with its own weights to the bit.

    Raises CheckpointError for a file that is no adapter or not one of this model's family, FileError for none.
    """
    return apply(model.base or model, (*model.adapters, *read_all(asked, folder, live)))


def read_all(
    asked: Sequence[Asked], folder: str | Path | None = None, live: bool = False
) -> tuple[Applied, ...]:
    """The files of what is asked for. Raises as `adapt`."""
    found = []
    for one in map(as_lora, asked):
        adapter = read(one.find(folder))
        if one.name:
            adapter = replace(adapter, name=f"{one.name}{Path(adapter.name).suffix}")
        found.append(Applied(adapter, one, live))
    return tuple(found)


def apply(base: Model, applied: Sequence[Applied]) -> Model:
    """`base` with these adapters; `base` itself without any."""
    if not applied:
        return base
    if base.base is not None:
        raise InputError("this model has adapters already; give its base.")
    family = str(base.card.get("family", "")) or (f"'{base.name}'" if base.name else "")
    twins = {name: twin(part) for name, part in base.parts.items()}
    for live in (False, True):  # so that live ones stand beside what is merged
        chosen = [one for one in applied if one.live is live]
        for (part, name), shares in shares_in(parts_of(base), family, chosen).items():
            _change(twins[part], name, shares, live)
    return replace(base.with_parts(twins), adapters=tuple(applied), base=base)


def shares_in(
    parts: Mapping[str, Config], family: str, applied: Sequence[Applied]
) -> dict[tuple[str, str], list[Share]]:
    """What these adapters change in networks of these configurations, by part and tensor. family: for messages."""
    known, network = places(parts), parts["network"]
    assert isinstance(network, UNetConfig)
    found: dict[tuple[str, str], list[Share]] = {}
    for one in applied:
        fitted = fit(one.adapter, known, family, network.text_width)
        blocks.check(one.asked.blocks, [place for place, _ in fitted])
        for place, change in fitted:
            strength = one.asked.weight * blocks.factor(one.asked.blocks, place, network)
            share = Share(change, strength, place.rows.start, place.rows.stop)
            found.setdefault((place.part, place.name), []).append(share)
    return found


def twin(network: Network) -> Network:
    """A copy of the modules that shares every parameter and buffer with the original."""
    shared = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    return copy.deepcopy(network, shared)


@torch.no_grad()
def _change(network: nn.Module, name: str, shares: list[Share], live: bool) -> None:
    path, _, _ = name.rpartition(".")
    parent, _, leaf = path.rpartition(".")
    layer = network.get_submodule(path)
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    shares = [
        share._replace(change=copy.deepcopy(share.change).to(weight.device))
        for share in shares
        if share.strength
    ]
    if live and shares:
        setattr(network.get_submodule(parent), leaf, Adapted(layer, shares))
    elif shares:
        # in the memory order of the old one, which a sum may lose
        merged = torch.empty_like(weight).copy_(changed(weight, shares))
        layer.weight = nn.Parameter(merged, requires_grad=False)
