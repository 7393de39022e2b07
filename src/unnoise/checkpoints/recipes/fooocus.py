"""JSON that stands in `parameters`: Fooocus' own scheme, and SwarmUI's."""

from __future__ import annotations

import re

from unnoise.checkpoints.recipes.found import FoundRecipe, Table, lora, read_as, table, text, whole

_FOOOCUS = (
    "prompt=prompt negative=negative_prompt seed=seed steps=steps guidance=guidance_scale sampler=sampler "
    "grid=scheduler model=base_model model_hash=base_model_hash"
)
_SWARM = (
    "version=swarm_version prompt=prompt negative=negativeprompt seed=seed steps=steps guidance=cfgscale "
    "sampler=sampler grid=scheduler width=width height=height model=model"
)


def find(chunks: dict[str, str]) -> FoundRecipe | None:
    """The recipe in a picture's chunks, if `parameters` is a table of Fooocus or SwarmUI."""
    written = table(chunks.get("parameters", ""))
    if written is None:
        return None
    swarm = written.get("sui_image_params")
    if isinstance(swarm, dict):
        return read_as(_SWARM, swarm, program="SwarmUI", noise="torch")
    return _fooocus(written) if "metadata_scheme" in written or "base_model" in written else None


def _fooocus(written: Table) -> FoundRecipe:
    sides = [int(part) for part in re.findall(r"\d{1,6}", str(written.get("resolution")))[:2]]
    width, height = sides if len(sides) == 2 else (None, None)
    vae, loras = text(written.get("vae")), written.get("loras")
    rows = loras if isinstance(loras, list) else []
    return read_as(
        _FOOOCUS,
        written,
        apart="resolution loras version metadata_scheme clip_skip vae",
        more={"Clip skip": whole(written.get("clip_skip")), "VAE": "" if vae.startswith("Default") else vae},
        program="Fooocus",
        version=text(written.get("version")).removeprefix("Fooocus ").removeprefix("v"),
        width=width,
        height=height,
        noise="torch",
        loras=tuple(lora(*row[:2]) for row in rows if isinstance(row, list) and len(row) >= 2),
    )
