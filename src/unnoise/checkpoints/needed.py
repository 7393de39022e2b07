"""Which files of a model's folder are needed, by their names: one precision of each part, no pickle. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

INDEX = "model_index.json"
"""What a diffusers folder has at its top."""

ALONE = "diffusion_pytorch_model"
"""What the weights of one network are called, beside its `config.json`."""

PARTS = {"unet": ALONE, "vae": ALONE, "text_encoder": "model", "text_encoder_2": "model"}
"""Parts of a diffusers folder, and what their weights are called."""

_VARIANTS = ("", "fp16", "bf16")


@dataclass(frozen=True)
class Needed:
    """files: by name. lacks: parts of which the listing has no whole weights, or that have no description."""

    files: tuple[str, ...]
    lacks: tuple[str, ...]


def suffix(variant: str) -> str:
    """What a variant adds to a file's name."""
    return f".{variant}" if variant else ""


def spellings(base: str, asked: str = "") -> Iterator[tuple[str, str, str]]:
    """The names that one part's weights may have, the first that is there being taken: suffix, whole file, index.

    Of what is asked for, then of float32, float16 and bfloat16.
    """
    for each in map(suffix, dict.fromkeys((asked, *_VARIANTS))):
        yield each, f"{base}{each}.safetensors", f"{base}.safetensors.index{each}.json"


def of_model(index: Mapping[str, Any], names: Collection[str], variant: str = "") -> Needed:
    """Of a diffusers folder with this `model_index.json`."""
    parts = [part for part in PARTS if part in index and index[part] != [None, None]]
    words = [part.replace("text_encoder", "tokenizer") for part in parts if part.startswith("text_encoder")]
    files, lacks = [INDEX], []
    for folder, required in (
        ("scheduler", "scheduler_config"),
        *((each, "vocab|tokenizer") for each in words),
        *((each, "config") for each in parts),
    ):
        inside = [name for name in names if re.fullmatch(rf"{folder}/[^/]+\.(json|txt)", name)]
        files += [name for name in inside if ".index" not in name]
        if not any(re.fullmatch(rf"{folder}/({required})\.json", name) for name in inside):
            lacks.append(folder)
    return _with_weights(files, lacks, {f"{part}/": PARTS[part] for part in parts}, names, variant)


def of_network(names: Collection[str], variant: str = "") -> Needed:
    """Of a folder that holds one network, as ControlNets are kept."""
    return _with_weights(["config.json"], [], {"": ALONE}, names, variant)


def _with_weights(
    files: list[str], lacks: list[str], parts: Mapping[str, str], names: Collection[str], variant: str
) -> Needed:
    for folder, base in parts.items():
        found = weights(names, folder + base, variant)
        files, lacks = files + found, lacks if found else [*lacks, folder.rstrip("/") or base]
    return Needed(tuple(files), tuple(dict.fromkeys(lacks)))


def weights(names: Collection[str], base: str, variant: str = "") -> list[str]:
    """The files of one part's weights, one file before shards; empty where none is whole."""
    for each, whole, index in spellings(base, variant):
        if whole in names:
            return [whole]
        if index in names and (shards := _shards(names, base, each)):
            return [index, *shards]
    return []


def _shards(names: Iterable[str], base: str, variant: str) -> list[str]:
    """All shards, or none; diffusers has written the variant before and behind their number."""
    number = r"-\d{5}-of-(\d{5})"
    pattern = re.compile(
        rf"{re.escape(base)}({re.escape(variant)}{number}|{number}{re.escape(variant)})\.safetensors"
    )
    found = [match for match in map(pattern.fullmatch, sorted(names)) if match]
    complete = found and len(found) == int(found[0][2] or found[0][3])
    return [match[0] for match in found] if complete else []
