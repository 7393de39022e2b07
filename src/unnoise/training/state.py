"""What a checkpoint holds of a learner, and how a learner takes it up again, to the bit."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unnoise.errors import CheckpointError
from unnoise.training import checkpoints, tuning
from unnoise.training.ema import MovingAverage
from unnoise.training.learner import Learner

STATE, SHARDS = "state.json", "shards"
_WEIGHTS, _OPTIMIZER = "weights", "optimizer"  # kinds of tensors that have a file of their own


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


def save(learner: Learner, run: Path, step: int, facts: Mapping[str, Any], keep: int) -> Path:
    """Write checkpoint `step` of a run; returns its folder. Every process has to call; the first one writes.

    Of sharded weights each writes its share, into the folder that the first one has begun. facts: what else the
    state file holds. keep: checkpoints that stay, 0 for all. Raises FileError.
    """
    world = learner.world
    state = {**facts, "average_updates": learner.average.updates, "machine": machine(learner)}
    if learner.scale is not None:
        state["loss_scale"] = [learner.scale.value, learner.scale.good]
    with contextlib.ExitStack() as begun:
        folder = world.led(lambda: begun.enter_context(checkpoints.building(run, step)))
        if learner.sharded:
            from unnoise.training import shards

            shards.write(tensors(learner), folder / SHARDS)
        if learner.tuning.small:
            export(learner, folder, facts["pictures"])

        def finish() -> Path:
            # Inside of what the first process does alone: the others then hear of a full disk too.
            with checkpoints.disk_errors(checkpoints.folder_of(run, step)):
                if not learner.sharded:
                    _write_tensors(learner, folder)
                (folder / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
            begun.close()
            return checkpoints.kept(run, step, keep).folder

        return world.led(finish)


def read(learner: Learner, folder: Path) -> dict[str, Any]:
    """Take up what `save` wrote; returns the content of its state file. Whether it was sharded makes no difference.

    Raises CheckpointError when the files do not fit the learner, InputError for a tuning of another base.
    """
    state = _facts_in(folder / STATE)
    if state["base"]:  # first, for a LoRA's matrices fit no other network
        tuning.check_base(state["base"], learner.tuning.base)
    try:
        updates = state["average_updates"]
        if updates:
            learner.optimizer.begin(updates)
        _fill(tensors(learner), folder, learner)
        for average in (*learner.averages, *learner.profiles):
            average.updates = updates
        if learner.scale is not None:
            learner.scale.value, learner.scale.good = state["loss_scale"]
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"'{folder}' does not fit this run's config.toml, or the captions that it began with: {error}"
        ) from error
    return state


def _facts_in(path: Path) -> dict[str, Any]:
    """What stands in a state file; its manifest says that it is whole, not that it is one of ours."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' is not JSON: {error}. Resume from another checkpoint.") from error
    return found


def tensors(learner: Learner) -> dict[str, Tensor]:
    """All that a checkpoint holds, named by kind (`weights.network.conv_in.bias`): the learner's own memory."""
    named = {f"weights.{name}": tensor for name, tensor in learner.joined(learner.tensors).items()}
    named |= {f"optimizer.{name}": tensor for name, tensor in learner.optimizer.tensors().items()}
    for kind, averages in (("average", learner.averages), ("profile", learner.profiles)):
        for place, average in enumerate(averages):
            joined = learner.joined(average.average)
            named |= {f"{kind}.{place}.{name}": tensor for name, tensor in joined.items()}
    if learner.objective.uncertainty is not None:
        named |= {f"uncertainty.{name}": t for name, t in learner.objective.uncertainty.state_dict().items()}
    if learner.moments is not None:
        named |= {"moments.losses": learner.moments.losses, "moments.counts": learner.moments.counts}
    return named


def _place(learner: Learner, name: str) -> tuple[str, str]:
    """The file of an unsharded checkpoint that has this tensor, and its name there."""
    kind, _, rest = name.partition(".")
    if kind in (_WEIGHTS, _OPTIMIZER):
        return f"{kind}.safetensors", rest
    if kind == "average" and learner.tuning.kept:
        place, _, rest = rest.partition(".")
        return f"{model_name(learner, learner.averages[int(place)])}/{_WEIGHTS}.safetensors", rest
    return "more.safetensors", name


def _by_file(learner: Learner, named: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    files: dict[str, dict[str, Tensor]] = {}
    for name, tensor in named.items():
        file, key = _place(learner, name)
        files.setdefault(file, {})[key] = tensor
    return files


def _write_tensors(learner: Learner, folder: Path) -> None:
    """Files of all but the averages that are exported."""
    for file, found in _by_file(learner, tensors(learner)).items():
        if "/" not in file:
            save_file({name: tensor.contiguous() for name, tensor in found.items()}, folder / file)


@torch.no_grad()
def _fill(named: Mapping[str, Tensor], folder: Path, learner: Learner) -> None:
    """Put what the files hold into the tensors, each in the order in memory that it has here."""
    if learner.sharded or (folder / SHARDS).is_dir():
        from unnoise.training import shards

        if (folder / SHARDS).is_dir():
            shards.read(named, folder / SHARDS)
            return
    for file, wanted in _by_file(learner, named).items():
        saved = load_file(folder / file)
        for name, tensor in wanted.items():
            if saved[name].shape != tensor.shape:
                raise ValueError(f"{name} has the shape {list(saved[name].shape)}, not {list(tensor.shape)}.")
            shards.fill(tensor, saved[name]) if learner.sharded else tensor.copy_(saved[name])


def export(learner: Learner, folder: Path, pictures: int) -> Path:
    """Write the averaged models into `folder`, or of a LoRA its files; those that are there give way.

    Every process has to call, and the first one writes. Returns the path of the first average.
    """
    found = []
    for average in learner.averages:
        path, whole = folder / model_name(learner, average), learner.whole(average)
        found.append(path)
        learner.world.led(functools.partial(_export, learner, whole, path, pictures))
    return found[0]


def _export(learner: Learner, whole: Mapping[str, Tensor], path: Path, pictures: int) -> None:
    with checkpoints.disk_errors(path):
        learner.tuning.write(path, whole, learner.config, pictures)


def model_name(learner: Learner, average: MovingAverage) -> str:
    """Of an exported average: the folder `model` for the first, `model-0.9999` for one more; else its file."""
    path = Path(learner.tuning.file)
    return f"{path.stem}{'' if average is learner.average else f'-{average.decay}'}{path.suffix}"
