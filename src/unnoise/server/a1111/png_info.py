"""/sdapi/v1/png-info: what a picture says of how it was made."""

from __future__ import annotations

from collections.abc import Mapping

from unnoise.checkpoints.recipes import FoundRecipe, read_chunks

Table = dict[str, object]


def told(items: Mapping[str, str]) -> Table:
    """info: the text of generation parameters; items: all texts of the picture; parameters: the first, read.

    Other programs' recipes (ComfyUI, InvokeAI, ...) are read too, where A1111 has nothing to tell. Raises InputError.
    """
    found = read_chunks(items)
    info = items.get("parameters") or items.get("UserComment") or ""
    return {"info": info, "items": dict(items), "parameters": {} if found is None else _parameters(found)}


def _parameters(found: FoundRecipe) -> Table:
    """Settings under A1111's names, as text."""
    told = {
        "Prompt": found.prompt,
        "Negative prompt": found.negative,
        "Steps": found.steps,
        "Sampler": found.sampler,
        "Schedule type": found.grid or "Automatic",
        "CFG scale": found.guidance,
        "Seed": found.seed,
        "Size-1": found.width,
        "Size-2": found.height,
        "Model": found.model,
        "Model hash": found.model_hash,
        **found.more,
    }
    return {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in told.items()
        if value not in (None, "") or name in ("Prompt", "Negative prompt")
    }
