"""JSON that stands in `parameters`: Fooocus' own scheme, and SwarmUI's."""

from __future__ import annotations

import re

from unnoise.checkpoints.recipes.found import (
    FoundRecipe,
    Table,
    number,
    plain,
    stem,
    table,
    text,
    whole,
    words,
)

_TAKEN = words(
    "prompt negative_prompt seed steps guidance_scale sampler scheduler resolution base_model base_model_hash loras "
    "version metadata_scheme clip_skip vae"
)
_SWARM = words("prompt negativeprompt seed steps cfgscale sampler scheduler width height model swarm_version")


def find(chunks: dict[str, str]) -> FoundRecipe | None:
    """The recipe in a picture's chunks, if `parameters` is a table of Fooocus or SwarmUI."""
    written = table(chunks.get("parameters", ""))
    if written is None:
        return None
    if isinstance(written.get("sui_image_params"), dict):
        return _swarm(written["sui_image_params"])
    return _fooocus(written) if "metadata_scheme" in written or "base_model" in written else None


def _fooocus(written: Table) -> FoundRecipe:
    sides = [int(part) for part in re.findall(r"\d{1,6}", str(written.get("resolution")))[:2]]
    width, height = sides if len(sides) == 2 else (None, None)
    more = {name: value for name, value in written.items() if name not in _TAKEN}
    skip, vae = whole(written.get("clip_skip")), text(written.get("vae"))
    more |= {"Clip skip": skip, "VAE": "" if vae.startswith("Default") else vae}
    loras = written.get("loras")
    rows = (
        [row for row in loras if isinstance(row, list) and len(row) >= 2] if isinstance(loras, list) else []
    )
    return FoundRecipe(
        program="Fooocus",
        version=text(written.get("version")).removeprefix("Fooocus ").removeprefix("v"),
        prompt=text(written.get("prompt")),
        negative=text(written.get("negative_prompt")),
        seed=whole(written.get("seed")),
        steps=whole(written.get("steps")),
        guidance=number(written.get("guidance_scale")),
        sampler=text(written.get("sampler")),
        grid=text(written.get("scheduler")),
        width=width,
        height=height,
        model=stem(written.get("base_model")),
        model_hash=text(written.get("base_model_hash")),
        noise="torch",
        loras=tuple((stem(row[0]), number(row[1]) or 0.0) for row in rows),
        more=plain(more),
    )


def _swarm(written: Table) -> FoundRecipe:
    return FoundRecipe(
        program="SwarmUI",
        version=text(written.get("swarm_version")),
        prompt=text(written.get("prompt")),
        negative=text(written.get("negativeprompt")),
        seed=whole(written.get("seed")),
        steps=whole(written.get("steps")),
        guidance=number(written.get("cfgscale")),
        sampler=text(written.get("sampler")),
        grid=text(written.get("scheduler")),
        width=whole(written.get("width")),
        height=whole(written.get("height")),
        model=stem(written.get("model")),
        noise="torch",
        more=plain({name: value for name, value in written.items() if name not in _SWARM}),
    )
