"""What a training run tells its caller while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Started:
    """Before the first step. `step` steps are done already; notes are sentences for the person who waits."""

    step: int
    steps: int
    pictures: int
    captioned: bool
    parameters: int
    device: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """After a step; `step` counts finished steps.

    loss: mean over the batch. images_per_second: since the last such event. skipped: non-finite steps so far.
    """

    step: int
    steps: int
    loss: float
    gradient_norm: float
    lr: float
    images_per_second: float
    skipped: int


@dataclass(frozen=True)
class Skipped:
    """A step whose loss or gradient was not finite: nothing was changed by it."""

    step: int
    loss: float
    in_a_row: int


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on the disk and verified."""

    step: int
    folder: Path


@dataclass(frozen=True)
class Sampled:
    """A grid of samples was written."""

    step: int
    picture: Path


@dataclass(frozen=True)
class Stopped:
    """The run ended early on request; `folder` is the checkpoint from which --resume goes on."""

    step: int
    folder: Path


@dataclass(frozen=True)
class Finished:
    """All steps are done; `model` is the folder of the averaged model."""

    step: int
    model: Path


Event = Started | Progress | Skipped | Saved | Sampled | Stopped | Finished
