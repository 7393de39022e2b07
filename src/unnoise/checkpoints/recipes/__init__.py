"""Recipes in the pictures of other programs: each format is a file here, read as data and never run. Torch-free.

A picture's recipe is foreign file format like a checkpoint's layout, so its readers stand here, below `pipelines`,
which makes the picture again, and beside `inspect`, which shows it.
"""

from __future__ import annotations

from collections.abc import Mapping

from unnoise.checkpoints.recipes import a1111, comfyui, fooocus, invokeai, novelai
from unnoise.checkpoints.recipes.found import FoundRecipe, table

__all__ = ["FoundRecipe", "a1111", "read_chunks"]

_READERS = (invokeai.find, novelai.find, fooocus.find, comfyui.find)


def read_chunks(chunks: Mapping[str, str]) -> FoundRecipe | None:
    """The recipe that another program left in a picture; None where there is none.

    chunks: the picture's texts by name, as `images.read_text` gives them. Raises InputError for settings that make no
    sense.
    """
    found = _named(chunks)
    for reader in _READERS:
        recipe = reader(found)
        if recipe is not None:
            return recipe
    written = found.get("parameters", "")
    return a1111.read(written) if written.strip("\0 \n") and table(written) is None else None


def _named(chunks: Mapping[str, str]) -> dict[str, str]:
    """The texts under the names that a PNG has; JPEG and WebP keep theirs in EXIF fields."""
    found = dict(chunks)
    for field in ("Make", "Model", "ImageDescription"):
        name, colon, rest = found.get(field, "").partition(":")
        if colon and name.lower() in ("prompt", "workflow"):
            found.setdefault(name.lower(), rest)
    comment = found.get("UserComment", "")
    if comment:
        found.setdefault("parameters", comment)
        inside = table(comment) or {}
        found |= {
            name: value for name, value in inside.items() if name == "Comment" and isinstance(value, str)
        }
        found.setdefault("prompt", comment if inside else "")
    return found
