"""A LoRA as what is learned: small matrices beside a model of ours, whose own weights stay as they are.

A layer W of the base becomes W + (alpha / rank) up down (Hu et al. 2021, eq. 3). `down` begins with normal numbers of
variance 1 / inputs and `up` with zeros (sec. 4.1), so the first step sees the base itself. Only these two are given to
the optimizer, averaged, and kept in checkpoints.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from unnoise import checkpoints, randomness
from unnoise.checkpoints import Model
from unnoise.checkpoints.adapters import writing
from unnoise.checkpoints.adapters.applied import twin
from unnoise.checkpoints.adapters.change import Change
from unnoise.checkpoints.adapters.live import Adapted, Share
from unnoise.checkpoints.adapters.places import Place, names_for, parts_of
from unnoise.checkpoints.adapters.survey import sort_of
from unnoise.errors import InputError
from unnoise.process import schedule_from_config
from unnoise.training.config import LoraConfig, ModelConfig, TrainConfig

FILE = "lora.safetensors"


@dataclass(frozen=True, eq=False)
class Tuning:
    """base: the model, which nothing here changes. places: the layers that learn. changes: what they learn.

    model: the base with the changes beside its layers, sharing every weight of it.
    """

    base: Model
    places: tuple[Place, ...]
    changes: nn.ModuleList
    model: Model

    def averaged(self, tensors: Mapping[str, Tensor]) -> Model:
        """The base with these values of the changes' tensors beside it, ready to sample from."""
        return beside(self.base, self.places, self._filled(tensors))

    def write(self, path: Path, tensors: Mapping[str, Tensor], config: TrainConfig, pictures: int) -> Path:
        """Write these values as a LoRA in kohya's form; one that is there already gives way."""
        path.unlink(missing_ok=True)
        changes = {
            place: change
            for place, change in zip(self.places, self._filled(tensors), strict=True)
            if isinstance(change, Change)
        }
        return writing.write(path, self.base, changes, _facts(config, pictures, self.base))

    def _filled(self, tensors: Mapping[str, Tensor]) -> nn.ModuleList:
        changes = copy.deepcopy(self.changes).requires_grad_(False)
        changes.load_state_dict(dict(tensors))
        return changes


def open_base(config: LoraConfig, device: torch.device) -> Model:
    """The model that a LoRA is asked for. Raises InputError, with the reason, for one that cannot be trained here."""
    base = checkpoints.load(config.model, device=device)
    channels, height, width = base.shape
    fault = ""
    if base.autoencoder is not None:
        fault = "works in the latent space of an autoencoder, which training does not reach"
    elif channels not in (1, 3) or height != width:
        fault = f"makes samples of {channels} channels, {width}x{height}, which no picture here is"
    elif config.text_encoder and base.text_encoder is None:
        fault = "reads no text, so lora.text_encoder has nothing to change"
    if fault:
        raise InputError(
            f"lora.model is '{config.model}', which {fault}. Give another model of unnoise's own."
        )
    return base


def settled(config: ModelConfig, base: Model) -> ModelConfig:
    """The model's settings with the base's values, which hold whatever stands there as a default.

    Raises InputError, naming the setting, for one that was changed to something else than the base has.
    """
    plain = ModelConfig()
    channels, size, _ = base.shape
    own = replace(
        plain,
        size=size,
        colour="rgb" if channels == 3 else "grey",
        prediction=base.prediction,
        variance=base.variance,
        clip=base.clip or 0.0,
        schedule=base.schedule.config(),
    )
    for name in (field.name for field in fields(ModelConfig)):
        given, wanted = getattr(config, name), getattr(own, name)
        same = given in (getattr(plain, name), wanted)
        if not same and (name != "schedule" or schedule_from_config(given) != base.schedule):
            has = f"; it has {wanted}" if wanted != getattr(plain, name) else ""
            raise InputError(
                f"model.{name} is {given!r}, but with lora.model the base model's own holds{has}. Leave it out."
            )
    return own


def begin(config: LoraConfig, base: Model, seed: int) -> Tuning:
    """A LoRA that changes nothing yet, its first numbers a function of `seed` alone.

    Raises InputError when no layer of the base is of a sort in lora.targets.
    """
    places = _chosen(config, base)
    scale = (config.alpha or config.rank) / config.rank
    changes = nn.ModuleList()
    for number, place in enumerate(places):
        rows, *rest = place.shape
        down = randomness.normal(seed, "lora", number, shape=(config.rank, *rest)) / math.sqrt(
            math.prod(rest)
        )
        up = torch.zeros(rows, config.rank, *(1 for _ in rest[1:]))
        changes.append(Change("LoRA", {"down": down, "up": up}, scale))
    changes.to(next(base.network.parameters()).device).requires_grad_(True)
    return Tuning(base, places, changes, beside(base, places, changes))


def beside(base: Model, places: Sequence[Place], changes: nn.ModuleList) -> Model:
    """A model whose layers at these places have the changes beside them; all weights are those of the base."""
    network, encoder = twin(base.network), None if base.text_encoder is None else twin(base.text_encoder)
    modules: dict[str, nn.Module | None] = {"network": network, "text_encoder": encoder}
    shares: dict[tuple[str, str], list[Share]] = {}
    for place, change in zip(places, changes, strict=True):
        assert isinstance(change, Change)
        share = Share(change, 1.0, place.start, place.start + place.shape[0])
        shares.setdefault((place.part, place.name.removesuffix(".weight")), []).append(share)
    for (part, path), found in shares.items():
        module = modules[part]
        assert module is not None
        parent, _, leaf = path.rpartition(".")
        setattr(module.get_submodule(parent), leaf, Adapted(module.get_submodule(path), found))
    return replace(base, network=network, text_encoder=encoder)


def check_base(sha256: str, base: Model) -> None:
    """Raises InputError when a run that began with the base of this hash goes on with another."""
    if sha256 != base.fingerprint():
        raise InputError(
            f"the base model '{base.name}' is not the one that this LoRA began with (its weights' sha256 was "
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


def _chosen(config: LoraConfig, base: Model) -> tuple[Place, ...]:
    parts = ("network", "text_encoder") if config.text_encoder else ("network",)
    places = [place for place in names_for(parts_of(base)) if place.part in parts]
    sorts = [sort_of(place.name.removesuffix(".weight").replace(".", "_")) for place in places]
    chosen = tuple(place for place, sort in zip(places, sorts, strict=True) if sort in config.targets)
    if not chosen:
        has = ", ".join(f"{sort} ({count})" for sort, count in Counter(filter(None, sorts)).items())
        raise InputError(
            f"lora.targets is {', '.join(config.targets)}, of which '{config.model}' has no layer; it has {has}."
        )
    return chosen


def _facts(config: TrainConfig, pictures: int, base: Model) -> dict[str, str]:
    """What kohya's tools write of a run, by their names."""
    run, optimizer = config.run, config.optimizer
    facts = {
        "ss_output_name": "lora",
        "ss_new_sd_model_hash": base.fingerprint(),
        "ss_num_train_images": pictures,
        "ss_max_train_steps": run.steps,
        "ss_batch_size_per_device": run.batch,
        "ss_gradient_accumulation_steps": run.accumulate,
        "ss_seed": run.seed,
        "ss_optimizer": "AdamW",
        "ss_learning_rate": optimizer.lr,
        "ss_lr_scheduler": optimizer.decay,
        "ss_lr_warmup_steps": optimizer.warmup,
        "ss_max_grad_norm": optimizer.clip,
        "ss_caption_dropout_rate": config.loss.caption_dropout,
        "ss_noise_offset": config.loss.offset_noise,
    }
    return {name: str(value) for name, value in facts.items()}
