"""Adapters: small files that change a model (LoRA and its kin), or teach its text encoder a word.

What a file says of itself (`survey`) needs no torch, so the names that do are fetched when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unnoise.checkpoints.adapters.asked import Lora
from unnoise.checkpoints.adapters.survey import Survey, survey

if TYPE_CHECKING:
    from unnoise.checkpoints.adapters.applied import Applied, adapt
    from unnoise.checkpoints.adapters.reading import Adapter, read
    from unnoise.checkpoints.adapters.word import teach

__all__ = ["Adapter", "Applied", "Lora", "Survey", "adapt", "read", "survey", "teach"]

_LAZY = {"Adapter": "reading", "read": "reading", "Applied": "applied", "adapt": "applied", "teach": "word"}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
