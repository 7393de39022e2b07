"""What a training run is: small tables, checked when they are made.

`TrainConfig` is plain frozen data. How it becomes TOML, and how `--set section.key=value` changes it, stands
in `settings.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Any, Literal

from unnoise.errors import InputError
from unnoise.limits import Amount, BelowOne, Bound, Count, Share, as_declared, choice
from unnoise.training.tuning_config import FinetuneConfig, LoraConfig, PriorConfig, WordConfig

Factor = Annotated[float, (1e-6, inf)]


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

    size: Annotated[int, (4, 4096)] = 32
    colour: Literal["rgb", "grey"] = "rgb"
    prediction: str = "velocity"
    variance: str = "fixed_small"
    clip: Amount = 1.0
    network: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=lambda: {"kind": "cosine"})
    words: str = ""
    start: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        as_declared(self, "model.")
        choice("model.variance", self.variance, ("fixed_small", "fixed_large", "learned_range"))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one picture."""
        return (3 if self.colour == "rgb" else 1, self.size, self.size)


@dataclass(frozen=True)
class DataConfig:
    """How the folder of pictures is read.

    captions: where the words come from: "metadata" (metadata.jsonl or .csv), "text" (.txt or .caption beside the
    picture), "folders" (the folder's name), "none", or "auto": the first of these that tells of the picture. mirror:
    flip half of the pictures left to right, but none whose captions have a word or phrase of `mirror_guard`. shift:
    move each picture by up to this part of its side across and down; scale: make it up to this part larger or smaller;
    fill: "white" or "edge" where that leaves the picture empty. cache_mb: decoded pictures are kept in memory where all
    fit in this many megabytes; others are read as they come. strict: refuse a corrupt picture instead of skipping it
    or, where they are read as they come, of showing the next one. repeats: folders are named as `10_words`: their
    pictures count ten times in an epoch, and the words are the caption of those that have no other (kohya's layout).
    held_out: share of the pictures not trained on but measured every run.validate_every steps; held_out_from: a folder
    of such pictures instead, which may lie among the others. bucket_step: pictures keep their aspect ratio, in batches
    of one shape each, whose sides are multiples of this many pixels; 0 cuts all to a square.

    caption: the words of every picture, instead of `captions`. latents: what a model of latents learns from, a "sample"
    of what its autoencoder says of the picture, drawn anew at each use, or its "mean". encoded_mb: pictures and
    captions as the frozen autoencoder and text encoders read them are kept in memory up to this many megabytes, and in
    `encoded_folder`, where one is given, up to `encoded_folder_mb`; other runs take them from there.
    """

    captions: Literal["auto", "text", "metadata", "folders", "none"] = "auto"
    mirror: bool = False
    mirror_guard: tuple[str, ...] = ("left", "right")
    shift: Annotated[float, (0, 0.5)] = 0.0
    scale: Share = 0.0
    fill: Literal["white", "edge"] = "white"
    strict: bool = False
    cache_mb: Bound = 2048
    repeats: bool = False
    held_out: Annotated[float, (0, 0.9)] = 0.0
    held_out_from: str = ""
    bucket_step: Annotated[int, (0, 4096)] = 0
    caption: str = ""
    latents: Literal["sample", "mean"] = "sample"
    encoded_mb: Bound = 1024
    encoded_folder: str = ""
    encoded_folder_mb: Bound = 20_000

    def __post_init__(self) -> None:
        as_declared(self, "data.")
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

    weight: Literal["simple", "min_snr", "debiased", "p2", "edm"] = "simple"
    gamma: Factor = 5.0
    p2_k: Factor = 1.0
    p2_gamma: Amount = 1.0
    sigma_data: Factor = 0.5
    uncertainty: bool = False
    bound: Amount = 0.001
    times: Literal["uniform", "logit_normal", "log_normal", "importance"] = "uniform"
    mean: Annotated[float, (-100, 100)] = 0.0
    std: Annotated[float, (1e-6, 100)] = 1.0
    shift: Annotated[float, (1e-6, 100)] = 1.0
    stratified: bool = True
    caption_dropout: Share = 0.1
    offset_noise: Annotated[float, (0, 10)] = 0.0
    input_perturbation: Annotated[float, (0, 10)] = 0.0

    def __post_init__(self) -> None:
        as_declared(self, "loss.")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer, its learning rate over time, gradient clipping and the moving average of the weights.

    name: "adamw"; "adamw8bit" to keep its moments in a quarter of the memory (needs `unnoise[bitsandbytes]`; slower on
    a processor); or "muon", which learns more in a step at the same rate (`betas` and `eps` are then those of vectors).
    decay: what the rate does after `warmup` steps: "cosine" (to zero at the last step) or "constant". clip: largest
    norm of the gradient, 0 for no limit. ema: decay of the moving average; with ema_warmup the decay of update n is
    min(ema, (1 + n) / (10 + n)), n counted from 1. more_ema: further decays to track, exported beside the model.
    profile_every: steps between snapshots of the power-function averages with the deviations `profiles`, 0 for none;
    `training.profiles.reconstruct` makes any other average of them.
    """

    name: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    lr: Annotated[float, (0, 10)] = 3e-4
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.99)
    eps: Annotated[float, (1e-16, 1)] = 1e-8
    weight_decay: Annotated[float, (0, 10)] = 0.01
    warmup: Bound = 100
    decay: Literal["cosine", "constant"] = "cosine"
    clip: Amount = 1.0
    ema: BelowOne = 0.999
    ema_warmup: bool = True
    more_ema: tuple[BelowOne, ...] = ()
    profile_every: Bound = 0
    profiles: tuple[Annotated[float, (1e-4, 0.288)], ...] = (0.05, 0.1)

    def __post_init__(self) -> None:
        as_declared(self, "optimizer.")
        if len({self.ema, *self.more_ema}) <= len(self.more_ema):
            raise InputError(
                f"optimizer.more_ema is {list(self.more_ema)}; give decays that differ from the others."
            )
        if self.profile_every and not self.profiles:
            raise InputError(
                "optimizer.profiles is []; give at least one deviation, for example [0.05, 0.1]."
            )


@dataclass(frozen=True)
class RunConfig:
    """Length, batch, seed, machine, and what is written when.

    batch: samples that one optimizer step averages over; accumulate: parts it is computed in (the draws and
    the gradient stay the same). workers: threads that read pictures ahead; 0 reads them in the loop.
    precision: "float32", "bfloat16" or "float16" (autocast; float16 with a loss scale), or "auto": bfloat16
    where the device has it, on a processor for networks of 20 million numbers or more. recompute: activation
    checkpointing, less memory for a third more time. shard: of processes that torchrun starts, each keeps a share of
    weights, moments and averages (FSDP2). device: "auto", "cpu" or "cuda". keep: checkpoints kept, 0 for all.
    log_every, checkpoint_every, sample_every, validate_every: in steps, 0 for never (validation needs held-out
    pictures: data.held_out). sample_prompts: pictures of the sample grid; empty: captions of the data. patience:
    non-finite steps in a row before the run stops. tensorboard: write events for TensorBoard as well (the extra
    `unnoise[tensorboard]`).
    """

    steps: Count = 10_000
    batch: Count = 64
    accumulate: Count = 1
    seed: int = 0
    workers: Bound = 0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    recompute: bool = False
    shard: bool = False
    device: str = "auto"
    log_every: Count = 10
    checkpoint_every: Bound = 1000
    keep: Bound = 3
    sample_every: Bound = 1000
    validate_every: Bound = 500
    sample_prompts: tuple[str, ...] = ()
    patience: Count = 10
    tensorboard: bool = False

    def __post_init__(self) -> None:
        as_declared(self, "run.")
        if self.batch % self.accumulate:
            raise InputError(
                f"run.accumulate is {self.accumulate}; give a divisor of run.batch ({self.batch}), for example 1."
            )


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
