"""What a checkpoint holds of a learner, and how a learner takes it up again, to the bit."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unnoise import checkpoints as models
from unnoise.errors import CheckpointError
from unnoise.training import tuning
from unnoise.training.checkpoints import discard
from unnoise.training.ema import MovingAverage
from unnoise.training.learner import Learner

WEIGHTS, OPTIMIZER, MORE = "weights.safetensors", "optimizer.safetensors", "more.safetensors"
STATE, MODEL = "state.json", "model"


def machine(learner: Learner) -> dict[str, Any]:
    """What bit-equality holds for: another value of any of these may change the last digits."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": platform.machine(),
        "device": str(learner.device),
        "threads": torch.get_num_threads(),
        "processes": learner.world.size,
    }


def write(learner: Learner, folder: Path, facts: Mapping[str, Any]) -> None:
    """Put the learner into `folder`; facts: what else the state file holds, such as the number of steps."""
    save_file(_contiguous(learner.tensors()), folder / WEIGHTS)
    numbers: dict[int, dict[str, Tensor]] = learner.optimizer.state_dict()["state"]
    flat = {f"{index}.{name}": tensor for index, named in numbers.items() for name, tensor in named.items()}
    save_file(_contiguous(flat), folder / OPTIMIZER)
    if more := _more(learner):
        save_file(_contiguous(more), folder / MORE)
    if learner.tuning is None or learner.tuning.small:
        for average in learner.averages:
            export(learner, average, folder, facts["pictures"])
    state = {**facts, "average_updates": learner.average.updates, "machine": machine(learner)}
    if learner.scale is not None:
        state["loss_scale"] = [learner.scale.value, learner.scale.good]
    (folder / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")


def read(learner: Learner, folder: Path) -> dict[str, Any]:
    """Take up what `write` wrote; returns the content of its state file.

    Raises CheckpointError when the files do not fit the learner, InputError for a LoRA beside another base.
    """
    state: dict[str, Any]
    if learner.tuning is not None:  # first, for its matrices fit no other network
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        tuning.check_base(state["base"], learner.tuning.base)
    try:
        learner.modules.load_state_dict(load_file(folder / WEIGHTS))
        numbers: dict[int, dict[str, Tensor]] = {}
        for name, tensor in load_file(folder / OPTIMIZER).items():
            index, _, key = name.partition(".")
            numbers.setdefault(int(index), {})[key] = _laid_out(tensor, learner.parameters[int(index)])
        groups = learner.optimizer.state_dict()["param_groups"]
        learner.optimizer.load_state_dict({"state": numbers, "param_groups": groups})
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        updates = state["average_updates"]
        for average in learner.averages if learner.tuning is None else ():
            average.restore(load_file(folder / model_name(learner, average) / WEIGHTS), updates)
        _take_more(learner, folder / MORE, updates)
        if learner.scale is not None:
            learner.scale.value, learner.scale.good = state["loss_scale"]
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"'{folder}' does not fit this run's config.toml: {error}") from error
    return state


def export(learner: Learner, average: MovingAverage, folder: Path, pictures: int) -> Path:
    """Write an averaged model into `folder`, or of a LoRA its file; returns the path. One that is there gives way."""
    path = folder / model_name(learner, average)
    if learner.tuning is not None:
        return learner.tuning.write(path, average.average, learner.config, pictures)
    discard(path)
    return models.save(learner.averaged(average), path)


def model_name(learner: Learner, average: MovingAverage) -> str:
    """Of an exported average: the folder `model` for the first, `model-0.9999` for one more; else its file."""
    path = Path(MODEL if learner.tuning is None else learner.tuning.file)
    return f"{path.stem}{'' if average is learner.average else f'-{average.decay:g}'}{path.suffix}"


def _more(learner: Learner) -> dict[str, Tensor]:
    """What only some runs have, by name; tensors of the learner itself, so that copying into them restores it."""
    found: dict[str, Tensor] = {}
    if learner.objective.uncertainty is not None:
        found |= {f"uncertainty.{name}": t for name, t in learner.objective.uncertainty.state_dict().items()}
    if learner.moments is not None:
        found |= {"moments.losses": learner.moments.losses, "moments.counts": learner.moments.counts}
    # The averages of networks are models; those of a LoRA would lose their form in its file.
    for place, average in enumerate(learner.averages if learner.tuning is not None else ()):
        found |= {f"average.{place}.{name}": tensor for name, tensor in average.average.items()}
    for place, profile in enumerate(learner.profiles):
        found |= {f"profile.{place}.{name}": tensor for name, tensor in profile.average.items()}
    return found


@torch.no_grad()
def _take_more(learner: Learner, path: Path, updates: int) -> None:
    wanted = _more(learner)
    saved = load_file(path) if wanted else {}
    for name, tensor in wanted.items():
        tensor.copy_(saved[name])
    for average in (*learner.averages, *learner.profiles):
        average.updates = updates


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _laid_out(tensor: Tensor, weight: Tensor) -> Tensor:
    """The tensor in its weight's order in memory: the fused optimizer walks both side by side, blindly."""
    return torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor
