"""An adapter in memory, from a file in any of its spellings or from a PEFT folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unnoise.checkpoints.adapters.asked import SETTINGS
from unnoise.checkpoints.adapters.change import Change
from unnoise.checkpoints.adapters.names import Layer, is_adapter, listing
from unnoise.checkpoints.adapters.products import consistent, kind_of, rank_of
from unnoise.checkpoints.adapters.survey import Survey, survey
from unnoise.checkpoints.hashes import numbers_sha256, sha256_of
from unnoise.checkpoints.header import some
from unnoise.checkpoints.kinds import LORA, other
from unnoise.checkpoints.weights import DTYPES, Weights, open_weights
from unnoise.errors import CheckpointError
from unnoise.files import expanded, read_table
from unnoise.limits import counted, is_whole

_WEIGHTS = "adapter_model.safetensors"
_STATED = "lora_adapter_metadata"
_PLAIN = re.compile(r"[\w.-]+")
_SLOW = re.compile(r"\)[*+?{]|\\\d|\(\?|(?:[*+{].*){4}")  # repeats of groups, references, many repeats
_LONGEST = 256
_PARTS_OF_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True, eq=False)
class Adapter:
    """What a file changes.

    name: of the file. changes: by layer. facts: what its header tells. sha256: of the file; numbers_sha256: of what
    follows its header, by which A1111 knows a LoRA.
    """

    name: str
    changes: Mapping[Layer, Change]
    facts: Survey
    metadata: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    numbers_sha256: str = ""


def read(path: str | Path) -> Adapter:
    """The adapter of a .safetensors file (or a pickle of nothing but tensors), or of a folder that PEFT wrote.

    Every tensor is accounted for. Raises CheckpointError, naming the file and the tensors, for one that plays no part
    here, is of a type or has numbers that no weight has, and for a file that is no adapter.
    """
    place = expanded(path)
    settings: dict[str, Any] = {}
    if place.is_dir():
        settings = {"": read_table(place / SETTINGS)}
        place = place / _WEIGHTS
    weights = open_weights([place])
    settings = settings or _stated(weights.metadata)
    facts = survey(weights.shapes, weights.metadata)
    _check(place, weights, facts)
    _check_start(place, settings)
    found = listing(weights.infos)
    changes = {
        layer: _change(place, weights, roles, _scaling(settings, found.paths[layer]))
        for layer, roles in found.layers.items()
    }
    return Adapter(place.name, changes, facts, weights.metadata, sha256_of(place), numbers_sha256(place))


def _check(path: Path, weights: Weights, facts: Survey) -> None:
    if not facts.layers:
        what = other(weights.infos)
        told = f"it is {what}" if what else f"it has {counted(len(weights.infos), 'tensor')}, none known"
        if is_adapter(weights.infos) or what == LORA:
            told = f"not one of its layers is whole and of these kinds ({facts.others[0]!r} is of the first)"
        raise CheckpointError(f"'{path}' is no LoRA, LoHa or LoKr: {told}. Give an adapter's file.")
    if facts.others:
        raise CheckpointError(
            f"'{path}' is a {facts.kind} of {counted(facts.layers, 'layer')}"
            f"{' for ' * bool(facts.family)}{facts.family}, with {counted(len(facts.others), 'tensor')} not "
            f"understood here: {some(facts.others)}. Ask for it as a plain LoRA."
        )
    for name, info in weights.infos.items():
        number = name.endswith(".alpha") and info.count == 1
        if info.dtype not in DTYPES and not (number and info.dtype in ("I64", "I32")):
            raise CheckpointError(f"'{path}': tensor {name!r} is {info.dtype}, no type that weights have.")
        if name.endswith(".alpha") and not number:
            raise CheckpointError(
                f"'{path}': {name!r} has the shape {list(info.shape)}; one number was expected."
            )


def _check_start(path: Path, settings: Mapping[str, Any]) -> None:
    """PiSSA (Meng et al. 2024) and its like take what the matrices begin with out of the base, which is not ours then.

    Raises CheckpointError where PEFT's settings tell of one.
    """
    for table in settings.values():
        start = table.get("init_lora_weights") if isinstance(table, dict) else None
        if isinstance(start, str) and start.lower().startswith(_PARTS_OF_THE_BASE):
            raise CheckpointError(
                f"'{path}' began as {start[:80]!r}, so its matrices fit a base that was changed with them. Ask for it "
                "as a plain LoRA, as PEFT writes with path_initial_model_for_weight_conversion."
            )


class _Scaling(NamedTuple):
    """PEFT's settings of a layer. rank: what alpha stands over there even where no matrix has it; 0 if untold."""

    alpha: float | None = None
    rank: int = 0
    stabilised: bool = False


def _change(path: Path, weights: Weights, roles: Mapping[str, str], stated: _Scaling) -> Change:
    taken = {role: _taken(path, weights, name) for role, name in roles.items()}
    kind = kind_of(taken)
    factors = {role: t for role, t in taken.items() if role not in ("alpha", "dora", "magnitude")}
    alpha = float(taken["alpha"]) if "alpha" in taken else stated.alpha
    magnitude, along = taken.get("magnitude"), "rows"
    if "dora" in taken:
        magnitude = taken["dora"]
        # LyCORIS keeps one number for each input, (1, in), or for each output, (out, 1)
        along = "columns" if magnitude.ndim > 1 and magnitude.shape[0] == 1 < magnitude.numel() else "rows"
    shapes = {role: tuple(factor.shape) for role, factor in factors.items()}
    if not consistent(kind, shapes):
        raise CheckpointError(
            f"'{path}': the matrices of {next(iter(roles.values()))!r} cannot be multiplied; fetch the file again."
        )
    rank, scale = rank_of(kind, shapes), 1.0
    if not rank and "alpha" not in taken:
        rank = stated.rank
    if alpha is not None and rank:
        scale = alpha / (math.sqrt(rank) if stated.stabilised else rank)
    return Change(kind, factors, scale, magnitude, along)


def _taken(path: Path, weights: Weights, name: str) -> Tensor:
    tensor = weights.take(name).clone()
    if not bool(torch.isfinite(tensor.float()).all()):
        raise CheckpointError(f"'{path}': {name!r} holds numbers that are not finite. Fetch the file again.")
    # torch multiplies no numbers of eight bits
    return tensor.float() if tensor.dtype.itemsize == 1 else tensor


def _stated(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The settings that diffusers writes beside PEFT's matrices, by part; a file without them has alpha = rank."""
    try:
        table = json.loads(metadata.get(_STATED, "{}"))
    except (ValueError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for name, value in table.items() if isinstance(table, dict) else ():
        part, _, setting = str(name).partition(".")
        found.setdefault(part, {})[setting] = value
    return found


def _names(pattern: str, name: str) -> bool:
    """Whether PEFT's pattern is of this layer: the end of its name, or a regular expression for it.

    Raises CheckpointError for an expression that could be slow: it comes with a file of anybody's.
    """
    if _PLAIN.fullmatch(pattern):
        return f".{name}".endswith(f".{pattern}")
    if len(pattern) > _LONGEST or _SLOW.search(pattern):
        raise CheckpointError(
            f"alpha_pattern has {pattern[:80]!r}, an expression too involved to be read; write the layers' names there."
        )
    try:
        return re.match(rf"(.*\.)?({pattern})$", name) is not None
    except re.error as error:
        raise CheckpointError(
            f"alpha_pattern has {pattern!r}, no regular expression ({error}); write the layers' names there."
        ) from error


def _scaling(settings: Mapping[str, Any], path: str) -> _Scaling:
    """What PEFT's settings say of a layer. Raises CheckpointError for an alpha that is no number."""
    path = path.removeprefix("base_model.model.")
    part, _, rest = path.partition(".")
    table = settings.get("", settings.get(part))
    if not isinstance(table, dict):
        return _Scaling()
    name = path if "" in settings else rest
    alpha = _of_layer(table, "alpha_pattern", name, table.get("lora_alpha", table.get("alpha")))
    if alpha is not None and (type(alpha) not in (int, float) or not abs(alpha) < 1e30):
        raise CheckpointError(f"the alpha of {path!r} is {str(alpha)[:80]}; a number was expected.")
    rank = _of_layer(table, "rank_pattern", name, table.get("r"))
    return _Scaling(
        None if alpha is None else float(alpha),
        rank if is_whole(rank, 1, 2**31) else 0,
        bool(table.get("use_rslora", False)),
    )


def _of_layer(table: Mapping[str, Any], patterns: str, name: str, usual: object) -> Any:  # noqa: ANN401
    """The value of the first pattern that is of this layer, as PEFT takes it; else the usual one."""
    listed = table.get(patterns)
    each = listed.items() if isinstance(listed, dict) else ()
    return next((value for pattern, value in each if _names(pattern, name)), usual)
