"""What a training run tells its caller while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Drawn:
    """Before all others, of a run that draws pictures of its class first (DreamBooth): so many of them are there."""

    pictures: int
    total: int


@dataclass(frozen=True)
class Started:
    """Before the first step. `step` steps are done already; notes are sentences for the person who waits.

    precision: what the networks compute in, such as "bfloat16".
    """

    step: int
    steps: int
    pictures: int
    captioned: bool
    parameters: int
    device: str
    precision: str
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
class Validated:
    """The averaged model was measured on held-out pictures, always with the same noise and times.

    loss, error: mean over the pictures and its standard error. bands: means over eighths of the law of noise
    levels, cleanest first. overfitting_since: the step of the lowest loss once the curve has turned for sure
    (`held_out.Curve` has the rule), else None. bits, bits_error: the continuous-time bound in bits/dim and its standard
    error; None for models of latents and where it is not finite.
    """

    step: int
    loss: float
    error: float
    bands: tuple[float, ...]
    overfitting_since: int | None
    bits: float | None = None
    bits_error: float | None = None


@dataclass(frozen=True)
class Skipped:
    """A step whose loss or gradient was not finite: nothing was changed by it.

    in_a_row: such steps up to this one; 0 where float16 only needs a smaller loss scale.
    """

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
    """All steps are done; `model` is the folder of the averaged model, or the file of the LoRA."""

    step: int
    model: Path


Event = Drawn | Started | Progress | Validated | Skipped | Saved | Sampled | Stopped | Finished
