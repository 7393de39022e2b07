"""One layout to the other: a single file to a diffusers folder, and back, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unnoise.checkpoints import layouts
from unnoise.checkpoints.adapters.applied import adapt, read_all, shares_in
from unnoise.checkpoints.adapters.asked import Asked
from unnoise.checkpoints.adapters.live import changed
from unnoise.checkpoints.blueprint import Blueprint, Config, Part, shapes_of, sinusoid_width
from unnoise.checkpoints.folder import load, save
from unnoise.checkpoints.foreign import recognise
from unnoise.checkpoints.header import PICKLED, some
from unnoise.checkpoints.layouts import Layout
from unnoise.checkpoints.locations import find
from unnoise.checkpoints.needed import PARTS
from unnoise.checkpoints.single_file import parts_of
from unnoise.checkpoints.stated import autoencoder_table, model_index, scheduler_table, text_table, unet_table
from unnoise.checkpoints.weights import DTYPES, Weights, open_weights, write_weights
from unnoise.errors import CheckpointError, InputError
from unnoise.files import building_folder, check_new, expanded, replacing
from unnoise.networks.settings import Settings
from unnoise.networks.text_encoder import TextEncoderConfig
from unnoise.networks.unet import UNetConfig
from unnoise.networks.vae import AutoEncoderConfig
from unnoise.process import DiscreteVP
from unnoise.text import Tokenizer

Changes = Mapping[tuple[str, str], Callable[[Tensor], Tensor]]
"""What becomes of a tensor of ours, by part and name."""

_FOLDERS = {"network": "unet", "autoencoder": "vae"}
_SAYS = {"noise": "epsilon", "velocity": "v"}
"""What single files say of a prediction."""


def convert(
    source: str | Path,
    destination: str | Path,
    prediction: str | None = None,
    loras: Sequence[Asked] = (),
) -> Path:
    """Write the model at `source` in the other layout, whole or not at all; returns its path.

    A single file becomes a diffusers folder, a pickled one also a file; a folder becomes the file `destination`, which
    ends in .safetensors.
    Every number that the model computes with keeps its bits and its type; what no network reads (averages of
    training, tables, the last layer of Stable Diffusion 2's text encoder) is left out. prediction: as
    `checkpoints.load` takes it. loras: merged into the weights, as `adapters.adapt` takes them; then the layout may
    stay the same, and a model folder of ours is taken too. Raises CheckpointError as loading does, and where a LoRA
    makes a weight too large for its type, FileError where `destination` exists, and InputError for a pair of places
    that is no conversion.
    """
    target, found = expanded(destination), recognise(source, prediction)
    if found is None and loras:
        return save(adapt(load(source, prediction=prediction), loras), target)
    if found is None:
        find(source)  # tells what is not there
        raise InputError(
            f"'{source}' is no Stable Diffusion checkpoint; give a .safetensors file or a diffusers folder."
        )
    ending = target.suffix.lower()
    single = ending == ".safetensors"
    if ending in (*PICKLED, ".gguf", ".sft"):
        raise InputError(
            f"the destination is '{destination}'; give a file that ends in .safetensors, or a folder."
        )
    where = found.parts["network"].where
    folder = where.is_dir()
    if single != folder and not loras and not (single and where.suffix in PICKLED):
        wanted = "a file that ends in .safetensors" if folder else "a new folder"
        raise InputError(f"'{source}' would be written as it is; give {wanted} instead of '{destination}'.")
    check_new(target, "a model")
    found.check()
    configs = {name: part.config for name, part in found.parts.items()}
    shares = shares_in(configs, found.family, read_all(loras))
    changes = {place: partial(changed, shares=each) for place, each in shares.items()}
    (_to_file if single else _to_folder)(found, target, changes)
    return target


def convert_with(
    source: str | Path, destination: str | Path, values: Mapping[tuple[str, str], Tensor]
) -> Path:
    """Write the Stable Diffusion model at `source` as a diffusers folder in which some tensors have other values.

    values: by part ("network", "text_encoder", "text_encoder_2") and our name of the tensor; they are kept in the type
    that the file has. Raises as `convert`.
    """
    target, found = expanded(destination), recognise(source)
    if found is None:
        raise InputError(f"'{source}' is no Stable Diffusion checkpoint any more; put it back where it was.")
    found.check()
    # asked for the file's tensor, which gives it type and place
    _to_folder(found, target, {place: value.to for place, value in values.items()})
    return target


def _to_folder(found: Blueprint, target: Path, changes: Changes) -> None:
    schedule = scheduler_table(found.schedule, found.prediction)
    with building_folder(target) as temporary:
        for name, part in found.parts.items():
            folder, form = _FOLDERS.get(name, name), _form(found, name)
            (temporary / folder).mkdir()
            tensors = dict(_moved(name, part, form.folder, changes))
            write_weights(tensors, temporary / folder / f"{PARTS[folder]}.safetensors", {"format": "pt"})
            _write(temporary / folder / "config.json", form.table)
        for encoder, tokenizer in zip(found.kind.encoders, found.tokenizers, strict=True):
            assert isinstance(tokenizer, Tokenizer)
            tokenizer.save_pretrained(temporary / encoder.tokenizer)
        (temporary / "scheduler").mkdir()
        _write(temporary / "scheduler" / "scheduler_config.json", schedule)
        _write(temporary / "model_index.json", model_index(found.kind, found.unet))


def _to_file(found: Blueprint, target: Path, changes: Changes) -> None:
    forms = {name: _form(found, name).file for name in found.parts}
    _check_told(found, forms)
    tensors: dict[str, Tensor] = {}
    if found.schedule != DiscreteVP.scaled_linear():
        tensors["ztsnr"] = torch.zeros(0)
    if found.prediction == "velocity":
        tensors["v_pred"] = torch.zeros(0)  # ComfyUI reads no metadata, and XL's two kinds look alike to it
    for name, part in found.parts.items():
        tensors |= _moved(name, part, forms[name], changes)
    with replacing(target) as temporary:
        told = {"format": "pt", "modelspec.prediction_type": _SAYS[found.prediction]}
        write_weights(tensors, temporary, told)


def _check_told(found: Blueprint, forms: Mapping[str, Layout]) -> None:
    """Raises InputError for what a single file, which has no settings, cannot tell of: it would be another model."""
    plain = DiscreteVP.scaled_linear()
    if found.schedule not in (plain, plain.zero_terminal_snr()):
        raise InputError(
            f"the noise schedule of '{found.hashed}' is {found.schedule.config()}; a single file cannot tell of "
            "it, only of Stable Diffusion's own. Keep the folder."
        )
    if found.prediction not in _SAYS:
        raise InputError(
            f"a single file cannot tell that a model predicts the {found.prediction}. Keep the folder."
        )
    shapes = {name: forms[name].shapes(shapes_of(part.config)) for name, part in found.parts.items()}
    read = parts_of(found.hashed, {k: v for each in shapes.values() for k, v in each.items()}, found.kind)
    for name, part in found.parts.items():
        told = _settings(read[name].config)
        for field, value in _settings(part.config).items():
            if value != told[field]:
                raise InputError(
                    f"'{part.where}' has {field} {value}; a single file cannot tell of it, and would be read with "
                    f"{told[field]}. Keep the folder."
                )


def _settings(config: Config) -> dict[str, Any]:
    """What a network computes with, by name, however it is put."""
    assert isinstance(config, Settings)
    if not isinstance(config, UNetConfig):
        return config.to_dict()
    heads = [config.heads_of(width) for width in config.widths]
    depths = zip(heads, (*config.attention[:-1], config.mid_attention), strict=True)
    blocks = [config.blocks_at(level) for level in range(len(config.widths))]
    alike = {"head_width": 0, "heads": [count for count, depth in depths if depth], "blocks": blocks}
    return config.to_dict() | alike


def _moved(part_name: str, part: Part, layout: Layout, changes: Changes) -> Iterator[tuple[str, Tensor]]:
    """The part's tensors in another layout, each in the type that it has in the file."""
    weights = open_weights(part.files)
    for name, shape in shapes_of(part.config).items():
        source = part.layout.source(name)
        ours = torch.empty(shape, dtype=_dtype(weights, source.names))
        layouts.pour(source, ours, weights.take)
        if (part_name, name) in changes:
            ours = changes[part_name, name](ours).detach()
            if not bool(torch.isfinite(ours.float()).all()):
                raise CheckpointError(
                    f"{some(source.names)} of '{part.where}' would hold numbers that are not finite, or too large for "
                    f"{str(ours.dtype).removeprefix('torch.')}. Give LoRAs smaller weights, or a source in float32."
                )
        yield from layouts.spread(layout, {name: ours}).items()


def _dtype(weights: Weights, names: tuple[str, ...]) -> torch.dtype:
    dtypes = {DTYPES[weights.infos[name].dtype] for name in names}
    if len(dtypes) == 1:
        return dtypes.pop()
    # torch has no type for one of eight bits and another
    return reduce(torch.promote_types, (each if each.itemsize > 1 else torch.float32 for each in dtypes))


class _Form(NamedTuple):
    """A part as it is written. folder, file: its names in a folder and in a single file. table: its `config.json`."""

    folder: Layout
    file: Layout
    table: dict[str, Any]


def _form(found: Blueprint, name: str) -> _Form:
    config, layout = found.parts[name].config, found.parts[name].layout
    if isinstance(config, UNetConfig):
        # in Stable Diffusion 1 the transformers' projections are 1x1 convolutions
        linear = layout.form("mid_block.attention.project_in.weight") != "pixels"
        told = sinusoid_width(found.parts, found.kind.sizes) if found.kind.sizes else 0
        table = unet_table(config, linear, found.size[0], told)
        return _Form(layouts.unet.diffusers(linear), layouts.unet.original(config, linear), table)
    if isinstance(config, AutoEncoderConfig):
        file = layouts.autoencoder.original(len(config.widths))
        return _Form(layouts.autoencoder.diffusers(), file, autoencoder_table(config))
    assert isinstance(config, TextEncoderConfig)
    encoder = next(each for each in found.kind.encoders if each.name == name)
    spell = layouts.text.open_clip if encoder.open_clip else layouts.text.transformers
    return _Form(layouts.text.transformers(), spell(encoder.prefix), text_table(config))


def _write(path: Path, table: dict[str, Any]) -> None:
    path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
