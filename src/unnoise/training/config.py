"""What a training run is: five small tables, checked when they are made.

`TrainConfig` is plain frozen data. How it becomes TOML, and how `--set section.key=value` changes it, stands
in `settings.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from unnoise.errors import InputError


def _number(name: str, value: float, low: float, high: float, example: str) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise InputError(f"{name} is {value}; give a number {limits}, for example {example}.")


def _choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"{name} is '{value}'; give one of {', '.join(choices)}.")


@dataclass(frozen=True)
class ModelConfig:
    """What is learned: the picture's shape, the two networks, the noise schedule and the prediction.

    size: height and width in pixels. colour: "rgb" or "grey". network, text: fields of `UNetConfig` and
    `TextEncoderConfig` that differ from the small defaults. schedule: as `process.schedule_from_config` takes
    it. variance: of the reverse step; "learned_range" doubles the network's output channels and adds the
    variational bound to the loss. clip: limit of the predicted picture while sampling, 0 for none.
    defaults, card: copied into the exported model (steps, guidance, scheduler; name, licence, examples).
    """

    size: int = 32
    colour: str = "rgb"
    prediction: str = "velocity"
    variance: str = "fixed_small"
    clip: float = 1.0
    network: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=lambda: {"kind": "cosine"})
    defaults: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _number("model.size", self.size, 4, 4096, "32")
        _number("model.clip", self.clip, 0, math.inf, "1")
        _choice("model.colour", self.colour, ("rgb", "grey"))
        _choice("model.variance", self.variance, ("fixed_small", "fixed_large", "learned_range"))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one picture."""
        return (3 if self.colour == "rgb" else 1, self.size, self.size)


@dataclass(frozen=True)
class DataConfig:
    """How the folder of pictures is read.

    captions: where the words come from: "text" (.txt beside the picture), "metadata" (metadata.jsonl),
    "folders" (the folder's name), "none", or "auto": the first of these that a folder has. mirror: flip half
    of the pictures left to right. strict: refuse a corrupt picture instead of skipping it. cache_mb: decoded
    pictures up to this many megabytes are kept in memory.
    """

    captions: str = "auto"
    mirror: bool = False
    strict: bool = False
    cache_mb: int = 2048

    def __post_init__(self) -> None:
        _choice("data.captions", self.captions, ("auto", "text", "metadata", "folders", "none"))
        _number("data.cache_mb", self.cache_mb, 0, math.inf, "2048")


@dataclass(frozen=True)
class LossConfig:
    """Where in time to look, and how the squared errors are weighed.

    weight: "simple" (1 in the space of the prediction) or "min_snr" (Hang et al. 2023) with `gamma`. bound:
    factor of the variational term of the hybrid loss, used with model.variance = "learned_range". times: law
    of the noise level: "uniform" in the schedule's own time, "logit_normal" between its ends, or
    "log_normal" in sigma; the latter two have `mean` and `std`. stratified: spread each batch evenly over
    that law. caption_dropout: probability that a sample trains without its words.
    """

    weight: str = "simple"
    gamma: float = 5.0
    bound: float = 0.001
    times: str = "uniform"
    mean: float = 0.0
    std: float = 1.0
    stratified: bool = True
    caption_dropout: float = 0.1

    def __post_init__(self) -> None:
        _choice("loss.weight", self.weight, ("simple", "min_snr"))
        _choice("loss.times", self.times, ("uniform", "logit_normal", "log_normal"))
        _number("loss.gamma", self.gamma, 1e-6, math.inf, "5")
        _number("loss.bound", self.bound, 0, math.inf, "0.001")
        _number("loss.mean", self.mean, -100, 100, "0")
        _number("loss.std", self.std, 1e-6, 100, "1")
        _number("loss.caption_dropout", self.caption_dropout, 0, 1, "0.1")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, its learning rate over time, gradient clipping and the moving average of the weights.

    decay: what the rate does after `warmup` steps: "cosine" (to zero at the last step) or "constant". clip:
    largest norm of the gradient, 0 for no limit. ema: decay of the moving average; with ema_warmup the decay
    of update n is min(ema, (1 + n) / (10 + n)), n counted from 1.
    """

    lr: float = 3e-4
    betas: tuple[float, ...] = (0.9, 0.99)
    eps: float = 1e-8
    weight_decay: float = 0.01
    warmup: int = 100
    decay: str = "cosine"
    clip: float = 1.0
    ema: float = 0.999
    ema_warmup: bool = True

    def __post_init__(self) -> None:
        _number("optimizer.lr", self.lr, 0, 10, "0.0003")
        if len(self.betas) != 2:
            raise InputError(
                f"optimizer.betas is {list(self.betas)}; give two numbers, for example [0.9, 0.99]."
            )
        for beta in self.betas:
            _number("optimizer.betas", beta, 0, 0.999999, "[0.9, 0.99]")
        _number("optimizer.eps", self.eps, 1e-16, 1, "1e-8")
        _number("optimizer.weight_decay", self.weight_decay, 0, 10, "0.01")
        _number("optimizer.warmup", self.warmup, 0, math.inf, "100")
        _number("optimizer.clip", self.clip, 0, math.inf, "1")
        _number("optimizer.ema", self.ema, 0, 0.9999999, "0.999")
        _choice("optimizer.decay", self.decay, ("cosine", "constant"))


@dataclass(frozen=True)
class RunConfig:
    """Length, batch, seed, machine, and what is written when.

    batch: samples that one optimizer step averages over; accumulate: parts it is computed in (the draws and
    the gradient stay the same). workers: threads that read pictures ahead; 0 reads them in the loop.
    precision: "float32", "bfloat16" (autocast), or "auto": bfloat16 where the GPU has it. device: "auto", "cpu" or
    "cuda". keep: checkpoints kept, 0 for all. log_every, checkpoint_every, sample_every: in steps, 0 for
    never. sample_prompts: pictures of the sample grid; empty: captions of the data. patience: non-finite
    steps in a row before the run stops.
    """

    steps: int = 10_000
    batch: int = 64
    accumulate: int = 1
    seed: int = 0
    workers: int = 0
    precision: str = "auto"
    device: str = "auto"
    log_every: int = 10
    checkpoint_every: int = 1000
    keep: int = 3
    sample_every: int = 1000
    sample_prompts: tuple[str, ...] = ()
    patience: int = 10

    def __post_init__(self) -> None:
        _number("run.steps", self.steps, 1, math.inf, "10000")
        _number("run.batch", self.batch, 1, math.inf, "64")
        _number("run.accumulate", self.accumulate, 1, self.batch, "1")
        if self.batch % self.accumulate:
            raise InputError(
                f"run.accumulate is {self.accumulate}; give a divisor of run.batch ({self.batch}), for example 1."
            )
        for name in ("workers", "checkpoint_every", "keep", "sample_every"):
            _number(f"run.{name}", getattr(self, name), 0, math.inf, "0")
        _number("run.log_every", self.log_every, 1, math.inf, "10")
        _number("run.patience", self.patience, 1, math.inf, "10")
        _choice("run.precision", self.precision, ("auto", "float32", "bfloat16"))


@dataclass(frozen=True)
class TrainConfig:
    """A whole run: what is learned, from what, by which loss and optimizer, for how long."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)
