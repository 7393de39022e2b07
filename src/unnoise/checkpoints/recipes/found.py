"""What a picture of another program says that it was made of."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from unnoise.errors import InputError

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class FoundRecipe:
    """The settings in a picture, in one form whatever program wrote them. None or "": not told.

    program, version: who wrote it. prompt, negative: the texts, in that program's own syntax. seed, steps,
    guidance: of the sampling. sampler, grid: their names there ("Euler a" and "Karras"; grid "" is the sampler's
    own). width, height: of the first pass, in pixels. model, model_hash: the model's name and what is told of its
    hash, in hexadecimal. noise: which generator made the start, "torch" (on the CPU), "cuda", or "" where
    unknown. loras: names and weights. more: every other setting as text, those that several programs have under
    A1111's names. assumed: settings that are not told, and have what that program has where it tells none.
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
    assumed: tuple[str, ...] = ()

    @property
    def scheduler(self) -> str:
        """Sampler and grid in one name; some samplers' names end in their grid already."""
        joined = self.sampler.lower().endswith(f" {self.grid.lower()}")
        return self.sampler if joined else f"{self.sampler} {self.grid}".strip()

    @property
    def variation(self) -> tuple[int, float]:
        """The seed of a variation, and its share; 0 for none."""
        share = number(self.more.get("Variation seed strength")) or 0.0
        seed = whole(self.more.get("Variation seed"))
        return (seed % 2**63, share) if seed is not None and 0.0 < share <= 1.0 else (0, 0.0)

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
    return _made(value, int)


def number(value: object) -> float | None:
    """A finite number written as a number or as text; None for anything else."""
    found = _made(value, float)
    return None if found is None or not math.isfinite(found) else found


def _made(value: object, kind: Callable[[int | float | str], Number]) -> Number | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return kind(value)
    except (ValueError, OverflowError):
        return None


def text(value: object) -> str:
    """Text as it is, "" for anything else."""
    return value if isinstance(value, str) else ""


def stem(name: object) -> str:
    """A model's name without its folders and its ending."""
    last = text(name).replace("\\", "/").rpartition("/")[2]
    for ending in (".safetensors", ".ckpt", ".sft", ".pt", ".gguf"):
        last = last.removesuffix(ending)
    return last


def lora(name: object, weight: object) -> tuple[str, float]:
    """Name and weight; 0 for a weight that is no number."""
    return stem(name), number(weight) or 0.0


_KINDS: dict[str, Callable[[object], object]] = dict.fromkeys(("seed", "steps", "width", "height"), whole)
_KINDS |= {"guidance": number, "model": stem}


def read_as(
    names: str,
    written: Table,
    apart: str = "",
    more: Mapping[str, object] | None = None,
    **told: Any,  # noqa: ANN401 - fields of the recipe
) -> FoundRecipe:
    """The recipe of a table. What no name leads to is kept in `more`, unless it says nothing.

    names: where the fields stand, "field=name" for each. apart: names of the table that the caller reads. more, told:
    what the caller read there.
    """
    places = dict(pair.split("=") for pair in names.split())
    found = {field: _KINDS.get(field, text)(written.get(name)) for field, name in places.items()}
    taken = {*places.values(), *apart.split()}
    others = {name: value for name, value in written.items() if name not in taken}
    return FoundRecipe(**{**found, **told, "more": plain({**others, **(more or {})})})


def plain(values: Mapping[str, object]) -> dict[str, str]:
    """Settings as text, without those that say nothing: none, nought, false and what is empty."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value not in (None, "", [], {}, False)
    }


def senseless(name: str, value: str) -> InputError:
    """The error for a setting of a text that is none."""
    return InputError(
        f"the settings of this text make no sense: {name} is {value[:40]!r}. Give a picture whose text is whole, or "
        "its settings as options."
    )
