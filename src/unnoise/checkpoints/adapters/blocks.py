"""Factors of an adapter's weight in single blocks of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from unnoise.checkpoints.adapters.places import Place
from unnoise.checkpoints.layouts import unet
from unnoise.errors import InputError
from unnoise.networks.unet import UNetConfig

# The order of a list of factors: the text encoders ("base"), then blocks as the original code counts them. Short
# lists leave out blocks without attention, where a plain LoRA has no layers.
_SHORT = {
    False: "base i1 i2 i4 i5 i7 i8 m o3 o4 o5 o6 o7 o8 o9 o10 o11",
    True: "base i4 i5 i7 i8 m o0 o1 o2 o3 o4 o5",
}
_BLOCK = re.compile(r"(input|middle|output)_block(?:s\.(\d+))?\.")

Factors = Mapping[str, float] | Sequence[float]


def factor(blocks: Factors, place: Place, config: UNetConfig) -> float:
    """The factor at one place. Raises InputError for a list of another length."""
    if isinstance(blocks, Mapping):
        fitting = [name for name in blocks if _begins(place, name)]
        return blocks[max(fitting, key=len)] if fitting else 1.0
    if not blocks:
        return 1.0
    names = _order(config, len(blocks))
    if place.part != "network":
        return blocks[0]
    match = _BLOCK.match(unet.original(config, True, prefix="").source(place.name).names[0])
    block = "base" if match is None else match[1][0] + (match[2] or "")
    return blocks[names.index(block)] if block in names else 1.0


def check(blocks: Factors, places: Sequence[Place]) -> None:
    """Refuse a name that begins no layer's name: a factor that does nothing is a mistake. Raises InputError."""
    for name in blocks if isinstance(blocks, Mapping) else ():
        if not any(_begins(place, name) for place in places):
            known = sorted(
                {".".join(place.name.split(".")[:2]) for place in places} | {p.part for p in places}
            )
            raise InputError(
                f"the block {name!r} has no layer that the LoRA changes; it has {', '.join(known[:12])}."
            )


def _order(config: UNetConfig, count: int) -> list[str]:
    short = _SHORT[bool(config.pooled_width)].split()
    blocks = sum(config.blocks_at(level) + 1 for level in range(len(config.widths)))
    whole = ["base", *(f"i{n}" for n in range(blocks)), "m", *(f"o{n}" for n in range(blocks))]
    if count not in (len(short), len(whole)):
        raise InputError(
            f"{count} factors of blocks are given; this model takes {len(short)} or {len(whole)}."
        )
    return short if count == len(short) else whole


def _begins(place: Place, name: str) -> bool:
    """Whether `name` is the beginning of the place's part or name, cut at a dot."""
    wholes = (place.part, place.name, f"{place.part}.{place.name}")
    return any(f"{whole}.".startswith(f"{name}.") for whole in wholes)
