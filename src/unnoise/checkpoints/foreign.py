"""Models of other programs: recognised by what is in their files, with no word from a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unnoise.checkpoints import diffusers_folder, hub, single_file
from unnoise.checkpoints.blueprint import Blueprint
from unnoise.checkpoints.locations import find_foreign
from unnoise.limits import choice, typed

_PREDICTIONS = ("noise", "velocity", "sample")


def recognise(name: str | Path, prediction: str | None = None) -> Blueprint | None:
    """What a diffusers folder or a single file is; None where `name` is a model of ours, or nothing at all.

    name: a path, or an address of the hub (see `hub.Address`), which is fetched where it is not in the cache.
    prediction: what the network predicts, where the file should not be trusted to tell. Raises CheckpointError
    for a file that no known family accounts for.
    """
    typed("a model's name or path", name, str | Path)
    if prediction is not None:
        choice("prediction", prediction, _PREDICTIONS, ", or leave it out")
    asked, path = hub.address(name), find_foreign(name)
    if path is None:
        return None
    if path.is_dir():
        found = diffusers_folder.read(path, prediction, "" if asked is None else asked.variant)
    else:
        found = single_file.read(path, prediction)
    return found if asked is None else replace(found, name=asked.pinned(path))
