"""What a run would be, told without training: pictures, buckets, steps, memory and time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from unnoise.networks.memory import free_memory
from unnoise.training import memory
from unnoise.training.batches import draw
from unnoise.training.config import TrainConfig
from unnoise.training.data import Tell
from unnoise.training.trainer import Trainer


@dataclass(frozen=True)
class RunPlan:
    """pictures: those that an epoch shows, repeats counted. held_out: those that training does not see.

    buckets: height, width and number of pictures of each. epochs: how often each picture will be shown.
    memory: bytes at the most. tried: whether that is what two steps took; else it is reckoned, because less than
    that is free. seconds_per_step, seconds: of optimizer steps alone; None where none was tried.
    """

    pictures: int
    captioned: bool
    held_out: int
    buckets: tuple[tuple[int, int, int], ...]
    parameters: int
    device: str
    precision: str
    steps: int
    epochs: float
    memory: int
    tried: bool
    seconds_per_step: float | None
    seconds: float | None
    notes: tuple[str, ...]


@torch.inference_mode(False)  # whatever the caller's mode is: the steps have gradients
def plan(
    data: str | Path, out: str | Path, config: TrainConfig | None = None, reading: Tell | None = None
) -> RunPlan:
    """Check everything that a new run into `out` would check, and take two steps that are thrown away; writes nothing.

    Raises as `train` before its first step. What is sharded is told as if one process had it all.
    """
    if config is not None:
        # what is encoded is read where it is kept, and nothing is kept
        data_config = replace(config.data, encoded_folder_mb=0)
        config = replace(config, data=data_config, run=replace(config.run, shard=False))
    trainer = Trainer(data, out, config, reading=reading)
    learner, pictures, run = trainer.learner, trainer.pictures, trainer.config.run
    begun = memory.resident()
    reckoned, notes = memory.expected(learner), list(trainer.notes)
    # torch's fake tensors, of which a run has no need unless it computes blocks twice
    brought = 0 if run.recompute else memory.resident() - begun
    free, on_cpu = free_memory(learner.device), learner.device.type == "cpu"
    fits = free is None or reckoned - (begun if on_cpu else 0) <= free
    if fits:
        needed, each = _tried(trainer)
        needed -= brought if on_cpu and needed else 0
    else:
        needed, each = reckoned, None
        notes.append(
            f"about {reckoned / 2**30:.1f} GiB are needed and {(free or 0) / 2**30:.1f} GiB free, so no step was "
            "tried; a larger run.accumulate or run.recompute=true needs less."
        )
    return RunPlan(
        pictures=len(pictures),
        captioned=pictures.captioned,
        held_out=len(trainer.unseen),
        buckets=tuple((*size, len(indices)) for size, indices in pictures.buckets),
        parameters=sum(weight.numel() for weight in learner.parameters),
        device=str(learner.device),
        precision=learner.precision,
        steps=run.steps,
        epochs=run.steps * (run.batch // 2 if trainer.config.prior.prompt else run.batch) / len(pictures),
        memory=needed or reckoned,
        tried=fits and needed > 0,
        seconds_per_step=each,
        seconds=None if each is None else each * run.steps,
        notes=tuple(notes),
    )


def _tried(trainer: Trainer) -> tuple[int, float]:
    """Bytes at the most, and seconds, of a step: of two, for the first makes the optimizer's moments and warms up."""
    learner, device = trainer.learner, trainer.learner.device
    memory.forget_peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for step in range(2):
        begun = time.perf_counter()
        batch = draw(trainer.config, trainer.pictures, trainer.model.schedule, step, trainer.positions)
        learner.advance(step, batch)
        seconds.append(time.perf_counter() - begun)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), min(seconds)
    saving = memory.saving(learner)
    return max(memory.resident(peak=True), memory.resident() + saving), min(seconds)
