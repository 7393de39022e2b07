"""Our own model folder: `model.json` beside `weights.safetensors`, written whole and read strictly."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from unnoise.checkpoints.building import COMPUTED, check_dtype, outline, unfilled
from unnoise.checkpoints.eight_bit import layout, pack, unpack
from unnoise.checkpoints.foreign import recognise
from unnoise.checkpoints.header import read_header
from unnoise.checkpoints.locations import find
from unnoise.checkpoints.manifest import FILE, WEIGHTS, Manifest, making_sense, read_manifest
from unnoise.checkpoints.model import Model
from unnoise.checkpoints.verified import check_finite, check_header, read_tensors, stored, write_folder
from unnoise.errors import InputError
from unnoise.files import check_new, expanded
from unnoise.limits import shown
from unnoise.networks.hardware import usable
from unnoise.networks.text_encoder import TextEncoder, TextEncoderConfig
from unnoise.networks.unet import UNet, UNetConfig
from unnoise.process import schedule_from_config
from unnoise.text import tokenizer_from_config


def save(model: Model, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
    """Write a model folder, whole or not at all, and return its path.

    dtype: of the stored weights, for instance torch.float16 for half the size, or torch.int8 for a quarter (with a
    scale for each output channel); None keeps the networks' own.
    Raises InputError for another dtype, FileError when the folder exists or cannot be written, CheckpointError for
    weights that are not finite.
    """
    folder = expanded(folder)
    if dtype is not None:
        check_dtype(dtype, (*COMPUTED, torch.int8))
    if model.autoencoder is not None or model.more_text:
        raise InputError(
            "a model folder of ours holds one network and one text encoder, no autoencoder; keep the Stable "
            "Diffusion model in its own file or folder."
        )
    check_new(folder, "a model")
    state = _state(model)
    check_finite(state, f"the model for '{folder}'")
    state = (
        pack(state) if dtype == torch.int8 else {name: stored(each, dtype) for name, each in state.items()}
    )
    check_finite(state, f"the model for '{folder}'")
    return write_folder(folder, state, FILE, lambda sha256: _describe(model, sha256).to_json())


def load(
    name_or_path: str | Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    prediction: str | None = None,
) -> Model:
    """A model by its shipped name, from its folder, or from a training run (see `locations.find`).

    Or of another program: a diffusers folder, or a whole Stable Diffusion model in one file; `prediction` ("noise",
    "velocity", "sample") then says what the network predicts where the file tells wrongly.
    dtype: of the networks; None means float32, whatever the file stores. device: where they are put; the CPU
    when None. Every tensor is accounted for. Raises CheckpointError, naming the file and the tensors, for
    one that is missing, extra, of another shape or not finite, and for a file that differs from its hash; InputError
    for a dtype or device that there is not.
    """
    dtype, device = dtype or torch.float32, device or "cpu"
    check_dtype(dtype)
    usable(device)
    blueprint = recognise(name_or_path, prediction)
    if blueprint is not None:
        return blueprint.load(dtype, device)
    folder = find(name_or_path)
    if prediction is not None:
        raise InputError(
            f"prediction is {shown(prediction)}, but '{folder}' says itself what it predicts; leave it out."
        )
    manifest = read_manifest(folder)
    path = folder / WEIGHTS
    header = read_header(path)
    with making_sense(f"'{folder / FILE}' does not describe a model"):
        model = _build(manifest, _title(name_or_path, folder))
        check_header(path, header, layout(_state(model), header.tensors), FILE)
        tensors = unpack(read_tensors(path, manifest.sha256, FILE))
    for part in model.parts.values():
        unfilled(part, dtype, device)
    for name, target in _state(model).items():
        target.copy_(tensors[name])
    return model


def _state(model: Model) -> dict[str, Tensor]:
    """Every tensor of the model by its name in the file."""
    return {
        f"{part}.{name}": tensor
        for part, module in model.parts.items()
        for name, tensor in module.state_dict().items()
    }


def _describe(model: Model, sha256: str) -> Manifest:
    encoder = model.text_encoder
    return Manifest(
        network=model.network.config.to_dict(),
        schedule=model.schedule.config(),
        size=model.shape,
        sha256=sha256,
        text_encoder=None if encoder is None else encoder.config.to_dict(),
        vocabulary=None if model.tokenizer is None else model.tokenizer.config(),
        prediction=model.prediction,
        variance=model.variance,
        clip=model.clip,
        defaults=model.defaults,
        card=dict(model.card),
    )


def _build(manifest: Manifest, name: str) -> Model:
    """The model that the manifest describes, without memory: none is taken before the file is compared with it."""
    network = outline(lambda: UNet(UNetConfig.from_dict(manifest.network)))
    words = manifest.text_encoder
    encoder = None if words is None else outline(lambda: TextEncoder(TextEncoderConfig.from_dict(words)))
    model = Model(
        network=network,
        schedule=schedule_from_config(manifest.schedule),
        shape=manifest.size,
        prediction=manifest.prediction,
        variance=manifest.variance,
        clip=manifest.clip,
        text_encoder=encoder,
        tokenizer=None if manifest.vocabulary is None else tokenizer_from_config(manifest.vocabulary),
        defaults=manifest.defaults,
        card=manifest.card,
        name=name,
        sha256=manifest.sha256,
    )
    model.diffuser  # noqa: B018 - checks that schedule, prediction and variance belong together
    return model


def _title(name_or_path: str | Path, folder: Path) -> str:
    """What the recipe calls the model: the name that was given, without its folders; a run's for what lies in it."""
    given = Path(name_or_path)
    return given.name if given.name not in ("", FILE) else folder.resolve().name
