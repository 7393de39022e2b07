"""A model in a folder as diffusers writes it: `model_index.json`, and a folder for each part."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from unnoise.checkpoints import layouts
from unnoise.checkpoints.blueprint import Blueprint, Part, check_channels, sinusoid_width
from unnoise.checkpoints.building import uncollected
from unnoise.checkpoints.configs import autoencoder_config, text_config, unet_config
from unnoise.checkpoints.families import REFINER, SD1, SD2, SDXL, Encoder, Family
from unnoise.checkpoints.header import read_header, some
from unnoise.checkpoints.layouts import Layout
from unnoise.checkpoints.manifest import making_sense
from unnoise.checkpoints.needed import INDEX, PARTS, spellings
from unnoise.errors import CheckpointError, FileError, InputError
from unnoise.files import read_table
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.networks.unet import UNetConfig
from unnoise.process import NoiseSchedule
from unnoise.schedulers import names as schedulers
from unnoise.text import Tokenizer

UNUSED = r"(.*\.)?position_ids"

_PIPELINES = [
    f"StableDiffusion{xl}{kind}Pipeline"
    for kind in ("", "Img2Img", "Inpaint", "InstructPix2Pix")
    for xl in ("", "XL")
]
_TOKENIZERS = [["transformers", "CLIPTokenizer"], ["transformers", "CLIPTokenizerFast"]]
CLASSES = {
    "unet": [["diffusers", "UNet2DConditionModel"]],
    "vae": [["diffusers", "AutoencoderKL"]],
    "text_encoder": [["transformers", "CLIPTextModel"]],
    "text_encoder_2": [["transformers", "CLIPTextModelWithProjection"]],
    "tokenizer": _TOKENIZERS,
    "tokenizer_2": _TOKENIZERS,
}
"""What each part of a folder may be. Nothing is imported by these names: they are compared, and that is all."""

# Parts that are never opened, so that it does not matter what they claim to be.
_PASSED_OVER = ("safety_checker", "feature_extractor", "image_encoder", "scheduler")

Value = TypeVar("Value")


@uncollected()
def read(folder: Path, prediction: str | None = None, variant: str = "") -> Blueprint:
    """What the folder is.

    prediction: "noise", "velocity" or "sample" instead of what the scheduler's file says. variant: the precision to
    read where there are several. Raises CheckpointError for parts that are missing or of a class that is not known, and
    for settings that are not computed here.
    """
    _check_index(folder, read_table(folder / INDEX))
    config, linear = _understood(folder / "unet", unet_config)
    family = _family(folder, config)
    check_channels(folder, config)
    schedule, stated = _schedule(folder)
    tokenizers = tuple(_tokenizer(folder, encoder) for encoder in family.encoders)
    parts = {
        "network": _part(folder, "unet", config, layouts.unet.diffusers(linear), variant),
        "autoencoder": _autoencoder(folder, variant),
    }
    for encoder, tokenizer in zip(family.encoders, tokenizers, strict=True):
        parts[encoder.name] = _text(folder, encoder, tokenizer.end, family, variant)
    if family.sizes:
        _check_sizes(folder, parts, family)
    side = read_table(folder / "unet" / "config.json").get("sample_size")
    prediction = prediction or stated
    return Blueprint(
        kind=family,
        parts=parts,
        tokenizers=tokenizers,
        schedule=schedule,
        prediction=prediction,
        size=(side, side) if type(side) is int and 0 < side <= 512 else family.size(prediction),
        unused=UNUSED,
        name=folder.name or folder.resolve().name,
        hashed=parts["network"].files[0],
    )


def _check_index(folder: Path, index: dict[str, Any]) -> None:
    if index.get("_class_name") not in _PIPELINES:
        raise CheckpointError(
            f"'{folder / INDEX}' describes a {str(index.get('_class_name'))[:80]!r}; known are "
            f"{', '.join(_PIPELINES)}."
        )
    for name, value in index.items():
        if name.startswith("_") or name in _PASSED_OVER or not isinstance(value, list):
            continue
        known = CLASSES.get(name, [])
        if value not in ([None, None], *known):
            wanted = f"{' or '.join(map('.'.join, known))} was expected."
            raise CheckpointError(
                f"'{folder / INDEX}' says that {name!r} is {str(value)[:120]}; "
                f"{wanted if known else 'no such part is known, and nothing of it was run.'}"
            )


def _family(folder: Path, config: UNetConfig) -> Family:
    if config.pooled_width:
        return SDXL if (folder / "text_encoder").is_dir() else REFINER
    return SD2 if config.head_width or config.text_width == 1024 else SD1


def _understood(part: Path, read_config: Callable[[dict[str, Any]], Value]) -> Value:
    path = part / "config.json"
    with making_sense(f"'{path}' does not describe a network"):
        return read_config(read_table(path))


def _part(folder: Path, name: str, config: Any, layout: Layout, variant: str) -> Part:  # noqa: ANN401 - any of the three
    return Part(config, layout, weight_files(folder / name, PARTS[name], variant), folder / name)


def _autoencoder(folder: Path, variant: str) -> Part:
    config = _understood(folder / "vae", autoencoder_config)
    part = _part(folder, "vae", config, layouts.autoencoder.diffusers(), variant)
    old = any(".query." in name for file in part.files for name in read_header(file).tensors)
    return replace(part, layout=layouts.autoencoder.diffusers(old))


def _text(folder: Path, encoder: Encoder, end_token: int, family: Family, variant: str) -> Part:
    def ours(table: dict[str, Any]) -> TextEncoderConfig:
        return text_config(table, end_token, encoder.projected, normalize_skipped=not family.sizes)

    config = _understood(folder / encoder.name, ours)
    part = _part(folder, encoder.name, config, layouts.text.transformers(), variant)
    nested = any(each.startswith("text_model.") for file in part.files for each in read_header(file).tensors)
    return replace(part, layout=layouts.text.transformers(text_model=nested))


def _check_sizes(folder: Path, parts: dict[str, Part], family: Family) -> None:
    width = sinusoid_width(parts, family.sizes)
    stated = read_table(folder / "unet" / "config.json").get("addition_time_embed_dim")
    if stated != width:
        raise CheckpointError(
            f"'{folder / 'unet'}': addition_time_embed_dim is {stated!r}; its other numbers leave {width}."
        )


def _tokenizer(folder: Path, encoder: Encoder) -> Tokenizer:
    place = folder / encoder.tokenizer
    try:
        return Tokenizer.from_folder(place)
    except (FileError, InputError) as error:
        raise CheckpointError(f"'{place}' holds no tokenizer that can be read: {error}") from error


def _schedule(folder: Path) -> tuple[NoiseSchedule, str]:
    path = folder / "scheduler" / "scheduler_config.json"
    table = read_table(path)
    with making_sense(f"'{path}' does not describe a scheduler"):
        found = schedulers.from_config(table)
    if found.prediction.name not in ("noise", "sample", "velocity"):
        raise CheckpointError(f"'{path}': {found.prediction.name} prediction is not read for this family.")
    return found.schedule, found.prediction.name


def weight_files(folder: Path, base: str, variant: str = "") -> tuple[Path, ...]:
    """The files of one part's weights: the variant asked for, else whole before half precision; one file before shards.

    Raises CheckpointError when there is none, or shards are missing or lie outside the folder.
    """
    for _, whole, index in spellings(base, variant):
        if (folder / whole).is_file():
            return (folder / whole,)
        if (folder / index).is_file():
            return _shards(folder / index)
    has, way = "", "Fetch the model with its .safetensors files."
    if others := sorted(path.name for path in folder.glob(f"{base}.*.safetensors")):
        has, way = f" It has {some(others)}.", f"Call the variant that you want {base}.safetensors."
    elif [*folder.glob("*.bin")]:
        has = " It has pickled weights, which are not read."
    raise CheckpointError(f"'{folder}' has no {base}.safetensors.{has} {way}")


def _shards(index: Path) -> tuple[Path, ...]:
    table = read_table(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(file, str) for file in table.values()):
        raise CheckpointError(f"'{index}' lists no weights; fetch the model again.")
    files = sorted(set(table.values()))
    for file in files:
        # pathlib's own question raises for a name that is too long
        if Path(file).name != file or "\\" in file or not os.path.isfile(index.parent / file):
            raise CheckpointError(f"'{index}' names the file {file[:120]!r}, which is not in its folder.")
    return tuple(index.parent / file for file in files)
