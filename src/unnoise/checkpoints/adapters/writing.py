"""An adapter to a file in the names of kohya's tools, which A1111, ComfyUI, diffusers and we read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from unnoise.checkpoints.adapters.change import Change
from unnoise.checkpoints.adapters.places import Place, names_for, parts_of
from unnoise.checkpoints.families import SD1, SD2, SDXL
from unnoise.checkpoints.model import Model
from unnoise.checkpoints.weights import write_weights
from unnoise.files import check_new, expanded, replacing

_VERSIONS = {SD1.name: "sd_v1", SD2.name: "sd_v2", SDXL.name: "sdxl_base_v1-0"}


def write(
    path: str | Path, model: Model, changes: Mapping[Place, Change], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write LoRAs of a model's layers, whole or not at all; returns the path.

    metadata: beside what is written of itself (`ss_network_dim`, `ss_network_alpha`, `ss_network_module`,
    `ss_base_model_version`). Raises FileError for a file that exists.
    """
    target = expanded(path)
    check_new(target, "a LoRA")
    names = names_for(parts_of(model))
    tensors: dict[str, Tensor] = {}
    for place, change in changes.items():
        tensors |= _layer(names[place], change, is_convolution(place, model))
    with replacing(target) as temporary:
        write_weights(tensors, temporary, {**_facts(model, list(changes.values())), **(metadata or {})})
    return target


def is_convolution(place: Place, model: Model) -> bool:
    """Whether the layer is a 1x1 convolution elsewhere and linear here: projections of Stable Diffusion 1."""
    return ".project_" in place.name and model.card.get("family") == SD1.name


def _layer(name: str, change: Change, convolution: bool) -> dict[str, Tensor]:
    down, up = (change.factors[role].detach().cpu() for role in ("down", "up"))
    if convolution:
        down, up = (matrix.flatten(1)[:, :, None, None] for matrix in (down, up))  # read ones may have it
    found = {
        f"{name}.lora_down.weight": down.contiguous().clone(),
        f"{name}.lora_up.weight": up.contiguous().clone(),
        f"{name}.alpha": torch.tensor(change.scale * change.rank, dtype=torch.float32, device="cpu"),
    }
    if change.magnitude is not None:
        ones = (1,) * (down.ndim - 1)
        found[f"{name}.dora_scale"] = change.magnitude.detach().cpu().view(-1, *ones).clone()
    return found


def _facts(model: Model, changes: list[Change]) -> dict[str, str]:
    first = changes[0]
    version = _VERSIONS.get(str(model.card.get("family", "")), f"unnoise {model.name}".strip())
    return {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(first.rank),
        "ss_network_alpha": f"{first.scale * first.rank:g}",
        "ss_base_model_version": version,
        "ss_sd_model_name": model.name,
    }
