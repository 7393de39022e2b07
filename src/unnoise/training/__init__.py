"""From a folder of pictures to a model.

`train(data, out, config)` is a generator of events; `TrainConfig` is what a run is, and `settings` reads and
changes it. Settings need no torch, so `train` and `Trainer` are fetched when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unnoise.training import settings
from unnoise.training.config import (
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
)
from unnoise.training.events import (
    Drawn,
    Event,
    Finished,
    Progress,
    Sampled,
    Saved,
    Skipped,
    Started,
    Stopped,
    Validated,
)
from unnoise.training.tuning_config import FinetuneConfig, LoraConfig, PriorConfig, WordConfig

if TYPE_CHECKING:
    from unnoise.training.trainer import Trainer, train

__all__ = [
    "DataConfig",
    "Drawn",
    "Event",
    "FinetuneConfig",
    "Finished",
    "LoraConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PriorConfig",
    "Progress",
    "RunConfig",
    "Sampled",
    "Saved",
    "Skipped",
    "Started",
    "Stopped",
    "TrainConfig",
    "Trainer",
    "Validated",
    "WordConfig",
    "settings",
    "train",
]


def __getattr__(name: str) -> object:
    if name in ("Trainer", "train"):
        from unnoise.training import trainer

        return getattr(trainer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
