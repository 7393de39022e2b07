"""What is known of a model before it is asked for anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Card:
    """A model that is served.

    name: by which it is asked for. family: such as "unnoise" or "Stable Diffusion 1". hash: sha256 of its weights, ""
    where reading them takes long and no picture was made yet. kind: what the network sees beside the sample, "text"
    (nothing), "inpaint" or "edit". unit: width and height are multiples of it. width, height, steps, guidance,
    scheduler: what stands where nothing is asked. heeds_prompt: whether it reads text. prompts: examples. summary: a
    sentence.
    """

    name: str
    family: str
    hash: str
    kind: str
    unit: int
    width: int
    height: int
    steps: int
    guidance: float
    scheduler: str
    heeds_prompt: bool
    prompts: tuple[str, ...] = ()
    summary: str = ""


def called(source: str) -> str:
    """The name of the model at this path, or of this name; a hub's address has its revision too once it is read."""
    path = Path(source)
    if not path.exists():
        return source
    if path.suffix == ".json":  # the file that a model's folder is known by
        path = path.parent
    return path.stem if path.is_file() else path.name or path.resolve().name


def named(cards: Iterable[Card], name: object) -> Card | None:
    """The card of this name, the first where the name is None; None where there is none."""
    return next((card for card in cards if name in (None, card.name)), None)


def with_hash(cards: Iterable[Card], name: str | None, digest: str) -> tuple[Card, ...]:
    """The same cards, the one of this name with its hash."""
    return tuple(replace(card, hash=digest) if card.name == name else card for card in cards)
