"""The models that a server has, of which one is in memory at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from unnoise.checkpoints import Blueprint, find, recognise
from unnoise.checkpoints.manifest import read_manifest
from unnoise.checkpoints.model import beside
from unnoise.errors import InputError
from unnoise.networks import heap
from unnoise.networks.unet import UNetConfig
from unnoise.pipelines import TextToImage, load
from unnoise.server.card import Card, called, with_hash
from unnoise.server.settings import Settings

_KINDS = ("text", "edit", "inpaint")
_WORKS = {"text": "", "edit": "; edits a picture by instruction", "inpaint": "; paints within a mask"}


class Held:
    """One pipeline in memory, the one that was asked for last.

    cards: of all that can be asked for, from what their files say; no weights are read for that. Raises CheckpointError
    for one that cannot be accounted for.
    """

    def __init__(self, settings: Settings) -> None:
        self._engine = settings.engine
        self._sources: dict[str, str] = {}
        cards = []
        for source in settings.models:
            card = card_of(source, settings.engine, self._free)
            self._sources[card.name] = source
            cards.append(card)
        self.cards = tuple(cards)
        self.name = ""
        self.pipe: TextToImage | None = None

    def pipeline(self, name: str) -> TextToImage:
        """The pipeline of this model, loaded where another is held: that one is freed first."""
        if self.pipe is None or self.name != name:
            if name not in self._sources:
                raise InputError(
                    f"model '{name}' is not served now; this server has {', '.join(self._sources)}."
                )
            self.pipe, self.name = None, ""
            free()
            self.pipe, self.name = load(self._sources[name], engine=self._engine), name
        return self.pipe

    def told(self, name: str, digest: str) -> None:
        """The hash of a model, by the recipe of a picture that it made."""
        self.cards = with_hash(self.cards, name, digest)

    def _free(self, name: str) -> str:
        """The name, with a number where another model has it."""
        place = 1
        while (made := name if place == 1 else f"{name}-{place}") in self._sources:
            place += 1
        return made


def free() -> None:
    """Give back the memory of what is no longer held."""
    gc.collect()
    heap.hand_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def card_of(source: str, engine: str, named: Callable[[str], str]) -> Card:
    """What is known of a model without its weights. named: makes its name one that no other has."""
    blueprint = recognise(source)
    if blueprint is not None:
        return _foreign(blueprint, engine, named)
    manifest = read_manifest(find(source))
    network = UNetConfig.from_dict(manifest.network)
    channels, height, width = manifest.size
    prompts = manifest.card.get("prompts", ())
    return Card(
        name=named(called(source)),
        family=str(manifest.card.get("family", "unnoise")),
        hash=manifest.sha256,
        kind=_kind(network, channels),
        unit=network.factor if engine != "torch" else network.unit,
        width=width,
        height=height,
        steps=manifest.defaults.steps,
        guidance=float(manifest.defaults.guidance),
        scheduler=manifest.defaults.scheduler,
        heeds_prompt=manifest.text_encoder is not None,
        prompts=tuple(map(str, prompts)) if isinstance(prompts, list) else (),
        summary=str(manifest.card.get("summary", "")),
    )


def _foreign(blueprint: Blueprint, engine: str, named: Callable[[str], str]) -> Card:
    factor, network = blueprint.autoencoder.factor, blueprint.unet
    kind = _kind(network, network.out_channels)
    return Card(
        name=named(blueprint.name),
        family=blueprint.family,
        hash="",  # of gigabytes, read when a picture's recipe asks for it, and told then
        kind=kind,
        unit=factor * (network.factor if engine != "torch" else network.unit),
        width=blueprint.size[1] * factor,
        height=blueprint.size[0] * factor,
        steps=blueprint.defaults.steps,
        guidance=float(blueprint.defaults.guidance),
        scheduler=blueprint.defaults.scheduler,
        heeds_prompt=True,
        summary=f"{blueprint.family}, {blueprint.size[1] * factor}x{blueprint.size[0] * factor}{_WORKS[kind]}",
    )


def _kind(network: UNetConfig, channels: int) -> str:
    return _KINDS[beside(channels).index(network.in_channels - channels)]
