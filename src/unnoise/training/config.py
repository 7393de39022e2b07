"""What a training run is: six small tables, checked when they are made.

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
    words: a file of words with vectors of their meaning (see `training.words`), which then are the vocabulary.
    start: a model or run whose weights the training begins with, made by the same settings.
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
    words: str = ""
    start: str = ""
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
    of the pictures left to right, but none whose captions have a word of `mirror_guard`. shift: move each picture by
    up to this part of its side across and down; scale: make it up to this part larger or smaller; fill: "white" or
    "edge" where that leaves the picture empty. strict: refuse a corrupt picture instead of skipping it. cache_mb:
    decoded pictures up to this many megabytes are kept in memory. repeats: folders are named as `10_words`: their
    pictures count ten times in an epoch, and the words are the caption of those that have no other (kohya's
    layout). held_out: share of the pictures not trained on but measured every run.validate_every steps;
    held_out_from: a folder of such pictures instead. bucket_step: pictures keep their aspect ratio, in batches of
    one shape each, whose sides are multiples of this many pixels; 0 cuts all to a square.
    """

    captions: str = "auto"
    mirror: bool = False
    mirror_guard: tuple[str, ...] = ("left", "right")
    shift: float = 0.0
    scale: float = 0.0
    fill: str = "white"
    strict: bool = False
    cache_mb: int = 2048
    repeats: bool = False
    held_out: float = 0.0
    held_out_from: str = ""
    bucket_step: int = 0

    def __post_init__(self) -> None:
        _choice("data.captions", self.captions, ("auto", "text", "metadata", "folders", "none"))
        _choice("data.fill", self.fill, ("white", "edge"))
        _number("data.shift", self.shift, 0, 0.5, "0.05")
        _number("data.scale", self.scale, 0, 1, "0.1")
        _number("data.cache_mb", self.cache_mb, 0, math.inf, "2048")
        _number("data.bucket_step", self.bucket_step, 0, 4096, "64")
        _number("data.held_out", self.held_out, 0, 0.9, "0.1")
        if self.held_out and self.held_out_from:
            raise InputError("data.held_out and data.held_out_from are both given; give one of them.")


@dataclass(frozen=True)
class LossConfig:
    """Where in time to look, and how the squared errors are weighed.

    weight: "simple" (1 in the space of the prediction), "min_snr" with `gamma`, "debiased", "p2" with `p2_k` and
    `p2_gamma`, or "edm" with `sigma_data`: see `training.weights`. uncertainty: divide by the loss that is learned
    to be expected at the level (Karras et al. 2024), so that every level weighs the same. bound: factor of the
    variational term of the hybrid loss, used with model.variance = "learned_range".

    times: law of the noise level: "uniform" in the schedule's own time, "logit_normal" between its ends,
    "log_normal" in sigma (these two have `mean` and `std`), or "importance": more often where the loss's second
    moment is large, and weighed less there. shift: moves the fraction u of the schedule's time to
    shift u / (1 + (shift - 1) u), towards noise above 1. stratified: spread each batch evenly over the law.

    caption_dropout: probability that a sample trains without its words. offset_noise: standard deviation of a
    shift of the noise common to all pixels of a channel. input_perturbation: deviation of the noise that the
    network sees but is not asked for (Ning et al. 2023; 0.1 there).
    """

    weight: str = "simple"
    gamma: float = 5.0
    p2_k: float = 1.0
    p2_gamma: float = 1.0
    sigma_data: float = 0.5
    uncertainty: bool = False
    bound: float = 0.001
    times: str = "uniform"
    mean: float = 0.0
    std: float = 1.0
    shift: float = 1.0
    stratified: bool = True
    caption_dropout: float = 0.1
    offset_noise: float = 0.0
    input_perturbation: float = 0.0

    def __post_init__(self) -> None:
        _choice("loss.weight", self.weight, ("simple", "min_snr", "debiased", "p2", "edm"))
        _choice("loss.times", self.times, ("uniform", "logit_normal", "log_normal", "importance"))
        _number("loss.mean", self.mean, -100, 100, "0")
        _number("loss.caption_dropout", self.caption_dropout, 0, 1, "0.1")
        for name, example in (("gamma", "5"), ("p2_k", "1"), ("sigma_data", "0.5")):
            _number(f"loss.{name}", getattr(self, name), 1e-6, math.inf, example)
        for name, example in (("std", "1"), ("shift", "3")):
            _number(f"loss.{name}", getattr(self, name), 1e-6, 100, example)
        for name, example in (("p2_gamma", "1"), ("bound", "0.001")):
            _number(f"loss.{name}", getattr(self, name), 0, math.inf, example)
        for name in ("offset_noise", "input_perturbation"):
            _number(f"loss.{name}", getattr(self, name), 0, 10, "0.1")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, its learning rate over time, gradient clipping and the moving average of the weights.

    decay: what the rate does after `warmup` steps: "cosine" (to zero at the last step) or "constant". clip:
    largest norm of the gradient, 0 for no limit. ema: decay of the moving average; with ema_warmup the decay
    of update n is min(ema, (1 + n) / (10 + n)), n counted from 1. more_ema: further decays to track, exported
    beside the model. profile_every: steps between snapshots of the power-function averages with the deviations
    `profiles`, 0 for none; `training.profiles.reconstruct` makes any other average of them.
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
    more_ema: tuple[float, ...] = ()
    profile_every: int = 0
    profiles: tuple[float, ...] = (0.05, 0.1)

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
        for decay in (self.ema, *self.more_ema):
            _number("optimizer.ema", decay, 0, 0.9999999, "0.999")
        if len({self.ema, *self.more_ema}) <= len(self.more_ema):
            raise InputError(
                f"optimizer.more_ema is {list(self.more_ema)}; give decays that differ from the others."
            )
        _number("optimizer.profile_every", self.profile_every, 0, math.inf, "1000")
        for deviation in self.profiles:
            _number("optimizer.profiles", deviation, 1e-4, 0.288, "[0.05, 0.1]")
        if self.profile_every and not self.profiles:
            raise InputError(
                "optimizer.profiles is []; give at least one deviation, for example [0.05, 0.1]."
            )
        _choice("optimizer.decay", self.decay, ("cosine", "constant"))


@dataclass(frozen=True)
class RunConfig:
    """Length, batch, seed, machine, and what is written when.

    batch: samples that one optimizer step averages over; accumulate: parts it is computed in (the draws and
    the gradient stay the same). workers: threads that read pictures ahead; 0 reads them in the loop.
    precision: "float32", "bfloat16" or "float16" (autocast; float16 with a loss scale), or "auto": bfloat16
    where the GPU has it. recompute: activation checkpointing, less memory for a third more time. shard: of processes
    that torchrun starts, each keeps a share of weights, moments and averages (FSDP2). device: "auto", "cpu" or
    "cuda". keep: checkpoints kept, 0 for all. log_every, checkpoint_every, sample_every,
    validate_every: in steps, 0 for never (validation needs held-out pictures: data.held_out). sample_prompts:
    pictures of the sample grid; empty: captions of the data. patience: non-finite steps in a row before the
    run stops. tensorboard: write events for TensorBoard as well (the extra `unnoise[tensorboard]`).
    """

    steps: int = 10_000
    batch: int = 64
    accumulate: int = 1
    seed: int = 0
    workers: int = 0
    precision: str = "auto"
    recompute: bool = False
    shard: bool = False
    device: str = "auto"
    log_every: int = 10
    checkpoint_every: int = 1000
    keep: int = 3
    sample_every: int = 1000
    validate_every: int = 500
    sample_prompts: tuple[str, ...] = ()
    patience: int = 10
    tensorboard: bool = False

    def __post_init__(self) -> None:
        _number("run.steps", self.steps, 1, math.inf, "10000")
        _number("run.batch", self.batch, 1, math.inf, "64")
        _number("run.accumulate", self.accumulate, 1, self.batch, "1")
        if self.batch % self.accumulate:
            raise InputError(
                f"run.accumulate is {self.accumulate}; give a divisor of run.batch ({self.batch}), for example 1."
            )
        for name in ("workers", "checkpoint_every", "keep", "sample_every", "validate_every"):
            _number(f"run.{name}", getattr(self, name), 0, math.inf, "0")
        _number("run.log_every", self.log_every, 1, math.inf, "10")
        _number("run.patience", self.patience, 1, math.inf, "10")
        _choice("run.precision", self.precision, ("auto", "float32", "bfloat16", "float16"))


_SORTS = ("attention", "feed-forward", "projections", "convolutions")


@dataclass(frozen=True)
class LoraConfig:
    """A LoRA: small matrices learned beside a model that stays as it is. Off while `model` is "".

    model: one of unnoise's own, by shipped name, folder or run; its pictures' size, network, words, schedule and
    prediction hold, and the table of the model stays at its defaults. rank: inner dimension of the matrices. alpha:
    they count alpha / rank; 0 takes the rank. targets: sorts of layers that get them: "attention", "feed-forward",
    "projections" (into and out of the attention blocks), "convolutions". text_encoder: whether its layers do too.
    """

    model: str = ""
    rank: int = 8
    alpha: float = 0.0
    targets: tuple[str, ...] = _SORTS
    text_encoder: bool = False

    def __post_init__(self) -> None:
        _number("lora.rank", self.rank, 1, 4096, "8")
        _number("lora.alpha", self.alpha, 0, math.inf, "8")
        for target in self.targets or ("",):
            _choice("lora.targets", target, _SORTS)


@dataclass(frozen=True)
class TrainConfig:
    """A whole run: what is learned, from what, by which loss and optimizer, for how long; or beside which model."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        if self.lora.model and self.optimizer.profile_every:
            raise InputError(
                "optimizer.profile_every makes profiles of whole models, and lora.model asks for a LoRA; leave "
                "one of them out (optimizer.more_ema works with both)."
            )
        if self.lora.model and self.run.shard:
            raise InputError(
                "run.shard divides the weights that learn, and lora.model asks for a LoRA, which has few; leave "
                "run.shard out."
            )
