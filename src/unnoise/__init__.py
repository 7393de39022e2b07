"""unnoise: turn noise into pictures, and see and measure how.

    import unnoise

    pipe = unnoise.load("emoji")
    image = pipe("a red apple", seed=7).images[0]

Names are imported when they are first used, so `import unnoise` is quick and torch is not loaded by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unnoise import (
        checkpoints,
        errors,
        evaluation,
        images,
        networks,
        pipelines,
        process,
        randomness,
        schedulers,
        server,
        text,
        training,
    )
    from unnoise.errors import UnnoiseError
    from unnoise.networks.unet import UNet, UNetConfig
    from unnoise.pipelines import Recipe, TextToImage, load
    from unnoise.process import Diffuser, Level, NoiseSchedule
    from unnoise.schedulers import Scheduler
    from unnoise.text import Tokenizer
    from unnoise.training import TrainConfig, Trainer

    __version__: str

__all__ = [
    "Diffuser",
    "Level",
    "NoiseSchedule",
    "Recipe",
    "Scheduler",
    "TextToImage",
    "Tokenizer",
    "TrainConfig",
    "Trainer",
    "UNet",
    "UNetConfig",
    "UnnoiseError",
    "__version__",
    "checkpoints",
    "errors",
    "evaluation",
    "images",
    "load",
    "networks",
    "pipelines",
    "process",
    "randomness",
    "schedulers",
    "server",
    "text",
    "training",
]

_HOMES = {
    "Diffuser": "process",
    "Level": "process",
    "NoiseSchedule": "process",
    "Recipe": "pipelines",
    "Scheduler": "schedulers",
    "TextToImage": "pipelines",
    "Tokenizer": "text",
    "TrainConfig": "training",
    "Trainer": "training",
    "UNet": "networks.unet",
    "UNetConfig": "networks.unet",
    "UnnoiseError": "errors",
    "load": "pipelines",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        return version("unnoise")
    if name in _HOMES:
        return getattr(import_module(f"unnoise.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"unnoise.{name}")
    raise AttributeError(f"module 'unnoise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
