"""A LoRA as what is learned: small matrices beside a model, whose own weights stay as they are.

A layer W of the base becomes W + (alpha / rank) up down (Hu et al. 2021, eq. 3). `down` begins with normal numbers of
variance 1 / inputs and `up` with zeros (sec. 4.1), so the first step sees the base itself. Only these two are given to
the optimizer, averaged, and kept in checkpoints.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from unnoise import randomness
from unnoise.checkpoints import Model
from unnoise.checkpoints.adapters import writing
from unnoise.checkpoints.adapters.applied import twin
from unnoise.checkpoints.adapters.change import Change
from unnoise.checkpoints.adapters.live import Adapted, Share
from unnoise.checkpoints.adapters.places import Place, names_for, parts_of
from unnoise.checkpoints.adapters.survey import sort_of
from unnoise.checkpoints.families import SD2
from unnoise.errors import InputError
from unnoise.training.config import TrainConfig
from unnoise.training.tuning import Tuning, idle
from unnoise.training.tuning_config import AUTO, SORTS, LoraConfig

FILE = "lora.safetensors"


class LoraTuning(Tuning):
    """places: the layers that learn. changes: what they learn. The model shares every weight of the base."""

    file = FILE

    def __init__(self, base: Model, places: tuple[Place, ...], changes: nn.ModuleList) -> None:
        self.base, self.places, self.changes = base, places, changes
        self.learned: nn.Module = changes
        self.model = beside(base, places, changes)
        self.reads = any(place.part != "network" for place in places)

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


def begin(config: LoraConfig, base: Model, seed: int) -> LoraTuning:
    """A LoRA that changes nothing yet, its first numbers a function of `seed` alone.

    Raises InputError when no layer of the base is of a sort in lora.targets.
    """
    places = _chosen(config, base)
    scale = (config.alpha or config.rank) / config.rank
    parts = base.parts
    changes = nn.ModuleList()
    for number, place in enumerate(places):
        rows, *rest = place.shape
        down = randomness.normal(seed, "lora", number, shape=(config.rank, *rest)) / math.sqrt(
            math.prod(rest)
        )
        up = torch.zeros(rows, config.rank, *(1 for _ in rest[1:]), dtype=torch.float32, device="cpu")
        magnitude = None
        if config.dora:
            rows_of_it = parts[place.part].get_parameter(place.name)[place.rows].float().flatten(1)
            magnitude = torch.linalg.vector_norm(rows_of_it, dim=1)
        changes.append(Change("LoRA", {"down": down, "up": up}, scale, magnitude))
    changes.to(base.device).requires_grad_(True)
    return LoraTuning(base, places, changes)


def beside(base: Model, places: Sequence[Place], changes: nn.ModuleList) -> Model:
    """A model whose layers at these places have the changes beside them; all weights are those of the base."""
    modules = {name: twin(part) for name, part in base.parts.items()}
    shares: dict[tuple[str, str], list[Share]] = {}
    for place, change in zip(places, changes, strict=True):
        assert isinstance(change, Change)
        share = Share(change, 1.0, place.start, place.start + place.shape[0])
        shares.setdefault((place.part, place.name.removesuffix(".weight")), []).append(share)
    for (part, path), found in shares.items():
        parent, _, leaf = path.rpartition(".")
        module = modules[part]
        setattr(module.get_submodule(parent), leaf, Adapted(module.get_submodule(path), found))
    return base.with_parts(modules)


def _chosen(config: LoraConfig, base: Model) -> tuple[Place, ...]:
    targets = config.targets
    if targets == (AUTO,):
        targets = SORTS if base.autoencoder is None else SORTS[:-1]
    unused = idle(base)
    places = [
        place
        for place in names_for(parts_of(base))
        if (config.text_encoder or place.part == "network")
        and not (place.part == "text_encoder" and place.name.startswith(unused))
    ]
    sorts = [sort_of(place.name.removesuffix(".weight").replace(".", "_")) for place in places]
    chosen = tuple(place for place, sort in zip(places, sorts, strict=True) if sort in targets)
    if not chosen:
        has = ", ".join(f"{sort} ({count})" for sort, count in Counter(filter(None, sorts)).items())
        raise InputError(
            f"lora.targets is {', '.join(config.targets)}, of which '{config.model}' has no layer; it has {has}."
        )
    return chosen


def _facts(config: TrainConfig, pictures: int, base: Model) -> dict[str, str]:
    """What kohya's tools write of a run, by their names."""
    run, optimizer = config.run, config.optimizer
    size = base.shape[1] * base.factor
    v2 = base.card.get("family") == SD2.name
    facts = {
        "ss_output_name": "lora",
        "ss_new_sd_model_hash": base.fingerprint(),
        "ss_num_train_images": pictures,
        "ss_max_train_steps": run.steps,
        "ss_steps": run.steps,
        "ss_batch_size_per_device": run.batch,
        "ss_gradient_accumulation_steps": run.accumulate,
        "ss_gradient_checkpointing": run.recompute,
        "ss_seed": run.seed,
        "ss_resolution": f"({size}, {size})",
        "ss_enable_bucket": bool(config.data.bucket_step),
        "ss_optimizer": {"adamw": "AdamW", "adamw8bit": "AdamW8bit", "muon": "Muon"}[optimizer.name],
        "ss_learning_rate": optimizer.lr,
        "ss_lr_scheduler": optimizer.decay,
        "ss_lr_warmup_steps": optimizer.warmup,
        "ss_max_grad_norm": optimizer.clip,
        "ss_caption_dropout_rate": config.loss.caption_dropout,
        "ss_noise_offset": config.loss.offset_noise,
        "ss_min_snr_gamma": config.loss.gamma if config.loss.weight == "min_snr" else None,
        "ss_prior_loss_weight": config.prior.weight if config.prior.prompt else None,
        "ss_v2": v2,
        "ss_zero_terminal_snr": getattr(base.schedule, "zero_terminal", False),
    }
    return {name: str(value) for name, value in facts.items()}
