"""Files <-> networks: our own model folders, other programs' models, and what a file says of itself.

Reading what a file says (`inspect`, `locations`) needs no torch, so the names that do are fetched when asked
for: `Model`, `Tower`, `load`, `save`, `convert`, `Blueprint` and `recognise`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unnoise.checkpoints.locations import find, find_foreign, is_foreign, shipped
from unnoise.checkpoints.manifest import Defaults, Manifest
from unnoise.checkpoints.summary import Summary, inspect

if TYPE_CHECKING:
    from unnoise.checkpoints.blueprint import Blueprint
    from unnoise.checkpoints.conversion import convert
    from unnoise.checkpoints.folder import load, save
    from unnoise.checkpoints.foreign import recognise
    from unnoise.checkpoints.model import Model, Tower

__all__ = [
    "Blueprint",
    "Defaults",
    "Manifest",
    "Model",
    "Summary",
    "Tower",
    "convert",
    "find",
    "find_foreign",
    "inspect",
    "is_foreign",
    "load",
    "recognise",
    "save",
    "shipped",
]

_LAZY = {
    "Blueprint": "blueprint",
    "Model": "model",
    "Tower": "model",
    "recognise": "foreign",
    "convert": "conversion",
    "load": "folder",
    "save": "folder",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
