"""What a training run is: small tables, checked when they are made.

`TrainConfig` is plain frozen data. How it becomes TOML, and how `--set section.key=value` changes it, stands
in `settings.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from unnoise.errors import InputError
from unnoise.limits import choice, number, whole
from unnoise.training.tuning_config import FinetuneConfig, LoraConfig, PriorConfig, WordConfig


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
        whole("model.size", self.size, 4, 4096, "32")
        number("model.clip", self.clip, 0, math.inf, "1")
        choice("model.colour", self.colour, ("rgb", "grey"))
        choice("model.variance", self.variance, ("fixed_small", "fixed_large", "learned_range"))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one picture."""
        return (3 if self.colour == "rgb" else 1, self.size, self.size)


@dataclass(frozen=True)
class DataConfig:
    """How the folder of pictures is read.

    captions: where the words come from: "metadata" (metadata.jsonl), "text" (.txt or .caption beside the picture),
    "folders" (the folder's name), "none", or "auto": the first of these that tells of the picture. mirror: flip half
    of the pictures left to right, but none whose captions have a word or phrase of `mirror_guard`. shift: move each
    picture by up to this part of its side across and down; scale: make it up to this part larger or smaller; fill:
    "white" or "edge" where that leaves the picture empty. cache_mb: decoded pictures are kept in memory where all fit
    in this many megabytes; others are read as they come. strict: refuse a corrupt picture instead of skipping it or,
    where they are read as they come, of showing the next one. repeats: folders are named as `10_words`: their pictures
    count ten times in an epoch, and the words are the caption of those that have no other (kohya's layout). held_out:
    share of the pictures not trained on but measured every run.validate_every steps; held_out_from: a folder of such
    pictures instead, which may lie among the others. bucket_step: pictures keep their aspect ratio, in batches of one
    shape each, whose sides are multiples of this many pixels; 0 cuts all to a square.

    caption: the words of every picture, instead of `captions`. latents: what a model of latents learns from, a "sample"
    of what its autoencoder says of the picture, drawn anew at each use, or its "mean". encoded_mb: pictures and
    captions as the frozen autoencoder and text encoders read them are kept in memory up to this many megabytes, and in
    `encoded_folder`, where one is given, up to `encoded_folder_mb`; other runs take them from there.
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
    caption: str = ""
    latents: str = "sample"
    encoded_mb: int = 1024
    encoded_folder: str = ""
    encoded_folder_mb: int = 20_000

    def __post_init__(self) -> None:
        choice("data.latents", self.latents, ("sample", "mean"))
        for name in ("encoded_mb", "encoded_folder_mb"):
            whole(f"data.{name}", getattr(self, name), 0, math.inf, "1024")
        choice("data.captions", self.captions, ("auto", "text", "metadata", "folders", "none"))
        choice("data.fill", self.fill, ("white", "edge"))
        number("data.shift", self.shift, 0, 0.5, "0.05")
        number("data.scale", self.scale, 0, 1, "0.1")
        whole("data.cache_mb", self.cache_mb, 0, math.inf, "2048")
        whole("data.bucket_step", self.bucket_step, 0, 4096, "64")
        number("data.held_out", self.held_out, 0, 0.9, "0.1")
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
        choice("loss.weight", self.weight, ("simple", "min_snr", "debiased", "p2", "edm"))
        choice("loss.times", self.times, ("uniform", "logit_normal", "log_normal", "importance"))
        number("loss.mean", self.mean, -100, 100, "0")
        number("loss.caption_dropout", self.caption_dropout, 0, 1, "0.1")
        for name, example in (("gamma", "5"), ("p2_k", "1"), ("sigma_data", "0.5")):
            number(f"loss.{name}", getattr(self, name), 1e-6, math.inf, example)
        for name, example in (("std", "1"), ("shift", "3")):
            number(f"loss.{name}", getattr(self, name), 1e-6, 100, example)
        for name, example in (("p2_gamma", "1"), ("bound", "0.001")):
            number(f"loss.{name}", getattr(self, name), 0, math.inf, example)
        for name in ("offset_noise", "input_perturbation"):
            number(f"loss.{name}", getattr(self, name), 0, 10, "0.1")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, its learning rate over time, gradient clipping and the moving average of the weights.

    name: "adamw", or "adamw8bit" to keep the moments in a quarter of the memory (needs `unnoise[bitsandbytes]`;
    slower on a processor). decay: what the rate does after `warmup` steps: "cosine" (to zero at the last step) or
    "constant". clip: largest norm of the gradient, 0 for no limit. ema: decay of the moving average; with
    ema_warmup the decay of update n is min(ema, (1 + n) / (10 + n)), n counted from 1. more_ema: further decays to
    track, exported beside the model. profile_every: steps between snapshots of the power-function averages with the
    deviations `profiles`, 0 for none; `training.profiles.reconstruct` makes any other average of them.
    """

    name: str = "adamw"
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
        choice("optimizer.name", self.name, ("adamw", "adamw8bit"))
        number("optimizer.lr", self.lr, 0, 10, "0.0003")
        if len(self.betas) != 2:
            raise InputError(
                f"optimizer.betas is {list(self.betas)}; give two numbers, for example [0.9, 0.99]."
            )
        for beta in self.betas:
            number("optimizer.betas", beta, 0, 0.999999, "[0.9, 0.99]")
        number("optimizer.eps", self.eps, 1e-16, 1, "1e-8")
        number("optimizer.weight_decay", self.weight_decay, 0, 10, "0.01")
        whole("optimizer.warmup", self.warmup, 0, math.inf, "100")
        number("optimizer.clip", self.clip, 0, math.inf, "1")
        for decay in (self.ema, *self.more_ema):
            number("optimizer.ema", decay, 0, 0.9999999, "0.999")
        if len({self.ema, *self.more_ema}) <= len(self.more_ema):
            raise InputError(
                f"optimizer.more_ema is {list(self.more_ema)}; give decays that differ from the others."
            )
        whole("optimizer.profile_every", self.profile_every, 0, math.inf, "1000")
        for deviation in self.profiles:
            number("optimizer.profiles", deviation, 1e-4, 0.288, "[0.05, 0.1]")
        if self.profile_every and not self.profiles:
            raise InputError(
                "optimizer.profiles is []; give at least one deviation, for example [0.05, 0.1]."
            )
        choice("optimizer.decay", self.decay, ("cosine", "constant"))


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
        whole("run.steps", self.steps, 1, math.inf, "10000")
        whole("run.batch", self.batch, 1, math.inf, "64")
        whole("run.accumulate", self.accumulate, 1, self.batch, "1")
        if self.batch % self.accumulate:
            raise InputError(
                f"run.accumulate is {self.accumulate}; give a divisor of run.batch ({self.batch}), for example 1."
            )
        for name in ("workers", "checkpoint_every", "keep", "sample_every", "validate_every"):
            whole(f"run.{name}", getattr(self, name), 0, math.inf, "0")
        whole("run.log_every", self.log_every, 1, math.inf, "10")
        whole("run.patience", self.patience, 1, math.inf, "10")
        choice("run.precision", self.precision, ("auto", "float32", "bfloat16", "float16"))


@dataclass(frozen=True)
class TrainConfig:
    """A whole run: what is learned, from what, by which loss and optimizer, for how long; or beside which model."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    word: WordConfig = field(default_factory=WordConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    def __post_init__(self) -> None:
        asked = [f"{name}.model" for name in _TUNINGS if getattr(self, name).model]
        if len(asked) > 1:
            raise InputError(f"{' and '.join(asked)} are both given; give one of them.")
        if asked and self.optimizer.profile_every:
            raise InputError(
                f"optimizer.profile_every makes profiles of whole models, and {asked[0]} begins with "
                "one; leave one of them out (optimizer.more_ema works with both)."
            )
        if asked and self.run.shard:
            raise InputError(
                f"run.shard divides the weights of models trained from nothing, and {asked[0]} begins with one; leave "
                "run.shard out."
            )
        if self.prior.prompt:
            self._check_prior()

    def _check_prior(self) -> None:
        if not (self.lora.model or self.finetune.model):
            raise InputError(
                "prior.prompt keeps a class that a model knows already; give lora.model or finetune.model, or leave it "
                "out."
            )
        if self.run.batch % 2:
            raise InputError(
                f"run.batch is {self.run.batch}; with prior.prompt half of it is of the class: give an even number."
            )

    @property
    def tuned(self) -> str:
        """How a model that is there already learns: "lora", "word" or "finetune"; "" for one from nothing."""
        return next((name for name in _TUNINGS if getattr(self, name).model), "")

    @property
    def base(self) -> str:
        """The model that is there already, "" for none."""
        return str(getattr(self, self.tuned).model) if self.tuned else ""


_TUNINGS = ("lora", "word", "finetune")
