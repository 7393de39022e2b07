"""`--from IMAGE`: options out of a picture, over which those that were typed have the last word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.errors import FileError, InputError

if TYPE_CHECKING:
    from unnoise.pipelines import Repeat


def model_of(path: Path, typed: str | None) -> str:
    """The model that was typed, or the one that the picture's recipe names, where it is shipped or in the hub's cache.

    Raises FileError where the file holds no recipe, InputError where the model must be given.
    """
    from unnoise import checkpoints, images
    from unnoise.checkpoints import hub, recipes

    text = images.read_text(path)
    ours = images.recipe_json(text)
    if "unnoise" in text and ours is None:
        raise FileError(f"the recipe in '{path}' is damaged; give a picture that is whole.")
    found = recipes.read_chunks(text) if ours is None else None
    if ours is None and found is None:
        raise FileError(
            f"'{path}' holds no recipe; give a picture that unnoise, A1111, ComfyUI, InvokeAI or their kin wrote."
        )
    if typed is not None:
        return typed
    name = str(ours.get("model", "")) if ours is not None else found.model if found is not None else ""
    address = hub.address(name)
    known = name in checkpoints.shipped() or (address is not None and hub.cached(address) is not None)
    if ours is not None and known:  # a picture never makes anything be fetched
        return name
    raise InputError(
        f"'{path}' was made by the model '{name or 'unknown'}', which does not come with unnoise; give its file or "
        "folder with --model."
    )


def arithmetic_of(path: Path | None) -> str:
    """In what the network of a picture of ours was computed: "int8", or "" for floats and for no picture."""
    if path is None:
        return ""
    from unnoise import images

    ours = images.recipe_json(images.read_text(path))
    return "" if ours is None else str(ours.get("arithmetic", ""))


def options(repeat: Repeat, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `pipe.denoise` for the picture again, changed by what was typed (not None)."""
    from unnoise.pipelines.combining import Guidance, from_text, to_text

    given = {name: value for name, value in typed.items() if value is not None}
    kept = dict(repeat.options)
    if "scheduler" in given:  # the values of a program are those of its own schedulers
        kept.pop("compat", None)
    rule = kept.get("guidance")
    if "guidance" in given and isinstance(rule, Guidance):  # another scale, within what lies around it
        given["guidance"] = from_text(given["guidance"], to_text(rule))
    return kept | given
