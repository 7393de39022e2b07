"""What a picture of another program says that it was made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class FoundRecipe:
    """The settings in a picture, in one form whatever program wrote them. None or "": not told.

    program, version: who wrote it. prompt, negative: the texts, in that program's own syntax. seed, steps,
    guidance: of the sampling. sampler, grid: their names there ("Euler a" and "Karras"; grid "" is the sampler's
    own). width, height: of the first pass, in pixels. model, model_hash: the model's name and what is told of its
    hash, in hexadecimal. noise: which generator made the start, "torch" (on the CPU), "cuda", or "" where
    unknown. loras: names and weights. more: every other setting as text, those that several programs have under
    A1111's names.
    """

    program: str
    version: str = ""
    prompt: str = ""
    negative: str = ""
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    sampler: str = ""
    grid: str = ""
    width: int | None = None
    height: int | None = None
    model: str = ""
    model_hash: str = ""
    noise: str = ""
    loras: tuple[tuple[str, float], ...] = ()
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def variation(self) -> tuple[int, float]:
        """The seed of a variation, and its share; 0 for none."""
        share = number(self.more.get("Variation seed strength")) or 0.0
        seed = whole(self.more.get("Variation seed")) or 0
        return (seed % 2**63, share) if 0.0 < share <= 1.0 else (0, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without what was not told."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "", (), {})}


Table = dict[str, Any]


def table(text: str) -> Table | None:
    """The JSON object of this text; None where it is something else, or nested beyond reading."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def whole(value: object) -> int | None:
    """A whole number written as a number or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


def number(value: object) -> float | None:
    """A finite number written as a number or as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < float("inf") else None


def text(value: object) -> str:
    """Text as it is, "" for anything else."""
    return value if isinstance(value, str) else ""


def stem(name: object) -> str:
    """A model's name without its folders and its ending."""
    last = text(name).replace("\\", "/").rpartition("/")[2]
    for ending in (".safetensors", ".ckpt", ".sft", ".pt", ".gguf"):
        last = last.removesuffix(ending)
    return last


def words(listed: str) -> frozenset[str]:
    """Names, written with spaces between."""
    return frozenset(listed.split())


def plain(values: Mapping[str, object]) -> dict[str, str]:
    """Settings as text, without those that say nothing."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value not in (None, "", [], {}, False)
    }
