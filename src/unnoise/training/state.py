"""What a checkpoint holds of a learner, and how a learner takes it up again, to the bit."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unnoise import checkpoints as models
from unnoise.errors import CheckpointError
from unnoise.training.learner import Learner

WEIGHTS, OPTIMIZER, STATE, MODEL = "weights.safetensors", "optimizer.safetensors", "state.json", "model"


def machine(learner: Learner) -> dict[str, Any]:
    """What bit-equality holds for: another value of any of these may change the last digits."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": platform.machine(),
        "device": str(learner.device),
        "threads": torch.get_num_threads(),
    }


def write(learner: Learner, folder: Path, step: int, data: str, skipped: int) -> None:
    """Put the learner after `step` steps into `folder`; data: the picture set's digest."""
    save_file({name: tensor.contiguous() for name, tensor in learner.tensors().items()}, folder / WEIGHTS)
    numbers: dict[int, dict[str, Tensor]] = learner.optimizer.state_dict()["state"]
    flat = {f"{index}.{name}": tensor for index, named in numbers.items() for name, tensor in named.items()}
    save_file({name: tensor.contiguous() for name, tensor in flat.items()}, folder / OPTIMIZER)
    models.save(learner.averaged(), folder / MODEL)
    state = {
        "step": step,
        "average_updates": learner.average.updates,
        "skipped": skipped,
        "data": data,
        "machine": machine(learner),
    }
    (folder / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")


def read(learner: Learner, folder: Path) -> dict[str, Any]:
    """Take up what `write` wrote; returns the content of its state file.

    Raises CheckpointError when the files do not fit the learner.
    """
    try:
        learner.modules.load_state_dict(load_file(folder / WEIGHTS))
        numbers: dict[int, dict[str, Tensor]] = {}
        for name, tensor in load_file(folder / OPTIMIZER).items():
            index, _, key = name.partition(".")
            numbers.setdefault(int(index), {})[key] = _laid_out(tensor, learner.parameters[int(index)])
        groups = learner.optimizer.state_dict()["param_groups"]
        learner.optimizer.load_state_dict({"state": numbers, "param_groups": groups})
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        learner.average.restore(load_file(folder / MODEL / WEIGHTS), state["average_updates"])
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"'{folder}' does not fit this run's config.toml: {error}") from error
    return state


def _laid_out(tensor: Tensor, weight: Tensor) -> Tensor:
    """The tensor in its weight's order in memory: the fused optimizer walks both side by side, blindly."""
    return torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor
