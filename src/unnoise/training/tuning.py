"""What learns: all weights of a new model or of one that is there, a LoRA beside it, or a word for it."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from unnoise import checkpoints
from unnoise.checkpoints import Model
from unnoise.checkpoints.blueprint import Blueprint, fill
from unnoise.errors import InputError
from unnoise.networks.vae import AutoEncoder
from unnoise.process import schedule_from_config
from unnoise.training.build import check_multiple
from unnoise.training.config import ModelConfig, TrainConfig
from unnoise.training.precision import compute_dtype


class Tuning(abc.ABC):
    """What learns, of or beside a model.

    base: the model as it was. model: the one that the loss is taken of. learned: the module whose tensors the optimizer
    moves, checkpoints hold and averages follow. file: name of the result. reads: whether text encoders learn, so that
    captions are read in every step. kept: whether the result holds the averages as they are, so that a checkpoint needs
    them nowhere else; those of a LoRA lose their form in its file.
    """

    base: Model
    model: Model
    learned: nn.Module
    file: str
    reads: bool
    kept: bool = False

    @abc.abstractmethod
    def averaged(self, tensors: Mapping[str, Tensor]) -> Model:
        """A model with these values of the learned tensors, ready to sample from."""

    @abc.abstractmethod
    def write(self, path: Path, tensors: Mapping[str, Tensor], config: TrainConfig, pictures: int) -> Path:
        """Write these values in the form that other programs read; what is there already gives way."""

    @property
    def small(self) -> bool:
        """Whether the result is small enough to stand in every checkpoint."""
        return True

    def frozen_bytes(self) -> int:
        """Of everything in the model that does not learn."""
        learned = {id(tensor) for tensor in (*self.learned.parameters(), *self.learned.buffers())}
        parts = [part for part in (*self.model.parts.values(), self.model.autoencoder) if part is not None]
        held = {id(held): held for part in parts for held in (*part.parameters(), *part.buffers())}
        return sum(tensor.nbytes for place, tensor in held.items() if place not in learned)


def open_base(config: TrainConfig, device: torch.device) -> Model:
    """The model that a run begins with, at the size that it trains at.

    Stable Diffusion's frozen networks are kept in what the run computes in; the autoencoder, whose numbers are made
    once, stays in float32. Raises InputError, with the reason, for one that cannot be trained here.
    """
    name = config.base
    blueprint = checkpoints.recognise(name)
    if blueprint is not None:
        base = _sized(_foreign(blueprint, config, device), config)
    else:
        base = checkpoints.load(name, device=device)
    channels, height, width = base.shape
    reads = getattr(getattr(config, config.tuned), "text_encoder", config.tuned == "word")
    fault = ""
    if base.beside:
        fault = "sees more beside the sample (to inpaint or to edit), which training does not show it"
    elif base.size_ids and not base.more_text:
        fault = "is a refiner: it is told how beautiful a picture is, which no data here tells"
    elif base.autoencoder is None and (channels not in (1, 3) or height != width):
        fault = f"makes samples of {channels} channels, {width}x{height}, which no picture here is"
    elif reads and base.text_encoder is None:
        reader = "word.word" if config.tuned == "word" else f"{config.tuned}.text_encoder"
        fault = f"reads no text, so {reader} has nothing to change"
    if fault:
        raise InputError(
            f"{config.tuned}.model is '{name}', which {fault}. Give another of unnoise's own, or Stable Diffusion."
        )
    return base


def _foreign(blueprint: Blueprint, config: TrainConfig, device: torch.device) -> Model:
    dtype = compute_dtype(config.run.precision, device, blueprint.parameters()["network"])
    if config.tuned == "finetune" or dtype == torch.float32:  # what learns is kept in full precision
        return blueprint.load(torch.float32, device)
    model = blueprint.load(dtype, device)
    exact = fill(blueprint.parts["autoencoder"], torch.float32, device, unused=".*")
    assert isinstance(exact, AutoEncoder)
    return replace(model, autoencoder=exact)


def _sized(base: Model, config: TrainConfig) -> Model:
    """At the side that model.size asks for; its default leaves the model's own."""
    size, side = config.model.size, base.shape[1] * base.factor
    if size == ModelConfig().size:
        size = side
    for name, value in (("model.size", size), ("data.bucket_step", config.data.bucket_step)):
        check_multiple(name, value, base.unit, "model")
    return replace(base, shape=(base.shape[0], size // base.factor, size // base.factor))


def settled(config: TrainConfig, base: Model | None) -> ModelConfig:
    """The model's settings; where one is there already with its values, which hold whatever stands there as a default.

    Raises InputError, naming the setting, for one that was changed to something else than the base has.
    """
    if base is None:
        return config.model
    plain = ModelConfig()
    channels = base.shape[0] if base.autoencoder is None else base.autoencoder.config.channels
    own = replace(
        plain,
        size=base.shape[1] * base.factor,
        colour="rgb" if channels == 3 else "grey",
        prediction=base.prediction,
        variance=base.variance,
        clip=base.clip or 0.0,
        schedule=base.schedule.config(),
    )
    for name in (field.name for field in fields(ModelConfig)):
        given, wanted = getattr(config.model, name), getattr(own, name)
        same = given in (getattr(plain, name), wanted)
        if not same and (name != "schedule" or schedule_from_config(given) != base.schedule):
            has = f"; it has {wanted}" if wanted != getattr(plain, name) else ""
            raise InputError(
                f"model.{name} is {given!r}, but with {config.tuned}.model the base model's own holds{has}. Leave it "
                "out."
            )
    return own


def idle(base: Model) -> tuple[str, ...]:
    """How the names of those tensors of the first text encoder begin that no loss depends on.

    Of two encoders the first gives no pooled vector, so the layers after its hidden states do nothing.
    """
    if len(base.towers) < 2 or not base.towers[0].skip:
        return ()
    config, skip = base.towers[0].encoder.config, base.towers[0].skip
    layers = (f"blocks.{layer}." for layer in range(config.layers - skip, config.layers))
    return (*layers,) if config.normalize_skipped else (*layers, "final_norm.")


def begin(config: TrainConfig, base: Model) -> Tuning:
    """What learns, as it is before the first step: a function of the settings and of run.seed alone.

    base: the model that is there already, or a new one. Raises InputError for what the base does not have.
    """
    from unnoise.training import inversion, lora, whole

    if config.tuned == "lora":
        return lora.begin(config.lora, base, config.run.seed)
    if config.tuned == "word":
        return inversion.begin(config.word, base)
    if config.tuned == "finetune":
        return whole.WholeTuning(base, config.base, config.finetune.text_encoder)
    return whole.WholeTuning(base)


def check_base(sha256: str, base: Model) -> None:
    """Raises InputError when a run that began with the base of this hash goes on with another."""
    if sha256 != base.fingerprint():
        raise InputError(
            f"the base model '{base.name}' is not the one that this run began with (its weights' sha256 was "
            f"{sha256[:10]}, now {base.fingerprint()[:10]}); put that back, or start a new run."
        )


def notes(base: Model, captions: Iterable[str]) -> list[str]:
    """What a person should know of these captions: words that the base never saw, or that it reads none."""
    words = sorted(set(captions))
    if base.tokenizer is None:
        return ["the base model reads no words; the captions are not used."] if words else []
    pieces = [piece for caption in words for piece in base.tokenizer(caption, None).unknown[0]]
    unknown = list(dict.fromkeys(pieces))
    if not unknown:
        return []
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    return [f"the base model never saw {', '.join(unknown[:8])}{more}; all such words are one word to it."]
