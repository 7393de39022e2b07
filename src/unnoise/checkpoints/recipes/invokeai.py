"""InvokeAI's chunks: `invokeai_metadata` (3 and later), `sd-metadata` (2) and `Dream` (1)."""

from __future__ import annotations

import re
import shlex

from unnoise.checkpoints.recipes.found import FoundRecipe, Table, lora, read_as, stem, table, text, whole

_THIRD = (
    "version=app_version prompt=positive_prompt negative=negative_prompt seed=seed steps=steps guidance=cfg_scale "
    "width=width height=height"
)
_LONGEST = 20_000  # characters of a command line
_SECOND = "seed=seed steps=steps guidance=cfg_scale width=width height=height"
_FLAGS = {
    "-s": "steps",
    "-S": "seed",
    "-W": "width",
    "-H": "height",
    "-C": "cfg_scale",
    "-A": "sampler",
    "-f": "strength",
}


def read(written: Table) -> FoundRecipe:
    """What `invokeai_metadata` says."""
    model = written.get("model")
    kind, _, digest = text(model.get("hash") if isinstance(model, dict) else "").partition(":")
    sampler, grid = _sampler(text(written.get("scheduler")))
    more = {"Clip skip": _clip_skip(written), "Denoising strength": written.get("strength")}
    return read_as(
        _THIRD,
        written,
        apart="scheduler model loras rand_device clip_skip strength vae generation_mode",
        more=more | {"VAE": _name(written.get("vae"))},
        program="InvokeAI",
        sampler=sampler,
        grid=grid,
        model=stem(_name(model)),
        model_hash=digest if kind == "sha256" else "",
        noise={"cpu": "torch", "cuda": "cuda"}.get(text(written.get("rand_device")), ""),
        loras=_loras(written.get("loras")),
    )


def read_second(written: Table) -> FoundRecipe:
    """What `sd-metadata` says. The negative prompt stands in [brackets] inside the prompt."""
    image = written["image"]
    asked = image.get("prompt")
    if isinstance(asked, list):
        asked = " ".join(text(part.get("prompt")) for part in asked if isinstance(part, dict))
    prompt, negative = _split(text(asked))
    sampler, grid = _sampler(text(image.get("sampler")).removeprefix("k_"))
    return read_as(
        _SECOND,
        image,
        apart="prompt sampler strength type",
        more={"Denoising strength": image.get("strength")},
        program="InvokeAI",
        version=text(written.get("app_version")),
        prompt=prompt,
        negative=negative,
        sampler=sampler,
        grid=grid,
        model=stem(written.get("model_weights")),
        model_hash=text(written.get("model_hash")),
    )


def read_first(command: str) -> FoundRecipe | None:
    """What `Dream`, a command line such as `"a cat" -s50 -S7 -W512 -H512 -C7.5 -Ak_lms`, says."""
    try:
        typed = shlex.split(command) if len(command) <= _LONGEST else []
    except ValueError:
        return None
    if not typed:
        return None
    found: Table = {"prompt": typed[0]}
    for place, word in enumerate(typed):
        name = _FLAGS.get(word[:2])
        if name is not None:
            found[name] = word[2:] or (typed[place + 1] if place + 1 < len(typed) else "")
    return read_second({"image": found})


def _split(prompt: str) -> tuple[str, str]:
    negative = " ".join(part.strip() for part in re.findall(r"(?<!\\)\[([^\[\]]*)\]", prompt))
    return " ".join(re.sub(r"(?<!\\)\[[^\[\]]*\]", " ", prompt).split()), negative


def _sampler(name: str) -> tuple[str, str]:
    """The sampler, and Karras where InvokeAI's name ends in `_k`."""
    return (name.removesuffix("_k"), "Karras") if name.endswith("_k") else (name, "")


def _clip_skip(written: Table) -> int | None:
    """Counted as A1111 does, whose 1 leaves no layer out."""
    skipped = whole(written.get("clip_skip"))
    return skipped + 1 if skipped else None


def _name(given: object) -> object:
    """Of a model, which is a table in some versions and a name in others."""
    return (given.get("name") or given.get("model_name")) if isinstance(given, dict) else given


def _loras(given: object) -> tuple[tuple[str, float], ...]:
    rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
    return tuple(lora(_name(row.get("model") or row.get("lora")), row.get("weight")) for row in rows)


def find(chunks: dict[str, str]) -> FoundRecipe | None:
    """The recipe in a picture's chunks, if InvokeAI wrote one."""
    third = table(chunks.get("invokeai_metadata", ""))
    if third is not None:
        return read(third)
    second = table(chunks.get("sd-metadata", ""))
    if second is not None and isinstance(second.get("image"), dict):
        return read_second(second)
    return read_first(chunks["Dream"]) if "Dream" in chunks else None
