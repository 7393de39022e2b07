"""Adapter files with random numbers, in the spellings of the programs that write them."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

from unnoise.checkpoints.adapters import places, writing


def normal(*shape, seed=0, scale=0.1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


def kohya(model, path, rank=4, alpha=2.0, only=lambda name: True, metadata=None, make=None):
    """A LoRA for every layer of `model` whose kohya name `only` lets through; `make` makes another kind of one."""
    tensors = {}
    for seed, (place, name) in enumerate(places.names_for(places.parts_of(model)).items()):
        if not only(name):
            continue
        ones = (1, 1) if writing.is_convolution(place, model) else ()
        made = (make or lora)((*place.shape, *ones), rank, seed)
        tensors |= {f"{name}.{role}": tensor for role, tensor in made.items()}
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=metadata)
    return path


def lora(shape, rank, seed):
    ones = (1,) * (len(shape) - 2)
    return {
        "lora_down.weight": normal(rank, *shape[1:], seed=2 * seed),
        "lora_up.weight": normal(shape[0], rank, *ones, seed=2 * seed + 1),
    }
