"""Models of other programs: recognised by what is in their files, with no word from a network."""

from __future__ import annotations

from pathlib import Path

from unnoise.checkpoints.blueprint import Blueprint
from unnoise.checkpoints.locations import find_foreign
from unnoise.errors import InputError

_PREDICTIONS = ("noise", "velocity", "sample")


def recognise(name: str | Path, prediction: str | None = None) -> Blueprint | None:
    """What a diffusers folder or a single file is; None where `name` is a model of ours, or nothing at all.

    prediction: what the network predicts, where the file should not be trusted to tell. Raises CheckpointError
    for a file that no known family accounts for.
    """
    if prediction not in (None, *_PREDICTIONS):
        raise InputError(f"prediction is {prediction!r}; give one of {', '.join(_PREDICTIONS)}, or none.")
    path = find_foreign(name)
    if path is None:
        return None
    if path.is_dir():
        from unnoise.checkpoints.diffusers_folder import read

        return read(path, prediction)
    from unnoise.checkpoints.single_file import read as read_single

    return read_single(path, prediction)
