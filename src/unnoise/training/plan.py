"""What a run would be, told without training: pictures, buckets, steps, memory and time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from unnoise.training import memory
from unnoise.training.batches import draw
from unnoise.training.config import TrainConfig
from unnoise.training.data import Tell
from unnoise.training.trainer import Trainer


@dataclass(frozen=True)
class RunPlan:
    """pictures: those that an epoch shows, repeats counted. held_out: those that training does not see.

    buckets: height, width and number of pictures of each. epochs: how often each picture will be shown.
    memory: bytes at the most. seconds_per_step, seconds: of optimizer steps alone, from one that was tried.
    """

    pictures: int
    captioned: bool
    held_out: int
    buckets: tuple[tuple[int, int, int], ...]
    parameters: int
    device: str
    steps: int
    epochs: float
    memory: int
    seconds_per_step: float
    seconds: float
    notes: tuple[str, ...]


def plan(data: Path, out: Path, config: TrainConfig | None = None, reading: Tell | None = None) -> RunPlan:
    """Check everything that a new run into `out` would check, and try one step's gradient; writes nothing.

    Raises as `train` before its first step.
    """
    trainer = Trainer(data, out, config, reading=reading)
    learner, pictures, run = trainer.learner, trainer.pictures, trainer.config.run
    bytes_needed = memory.expected(learner)
    seconds = min(_tried(trainer) for _ in range(2))  # the first warms up
    return RunPlan(
        pictures=len(pictures),
        captioned=pictures.captioned,
        held_out=0 if trainer.unseen is None else len(trainer.unseen),
        buckets=tuple((*size, len(indices)) for size, indices in pictures.buckets),
        parameters=sum(weight.numel() for weight in learner.parameters),
        device=str(learner.device),
        steps=run.steps,
        epochs=run.steps * run.batch / len(pictures),
        memory=bytes_needed,
        seconds_per_step=seconds,
        seconds=seconds * run.steps,
        notes=tuple(trainer.notes),
    )


def _tried(trainer: Trainer) -> float:
    """Seconds for a batch and its gradient, which is thrown away."""
    begun = time.perf_counter()
    batch = draw(trainer.config, trainer.pictures, trainer.model.schedule, 0, trainer.positions)
    losses = trainer.learner.gradients(0, batch)
    float(losses.sum())  # waits for the device
    trainer.learner.optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - begun
