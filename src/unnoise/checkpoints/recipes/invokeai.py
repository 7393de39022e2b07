"""InvokeAI's chunks: `invokeai_metadata` (3 and later), `sd-metadata` (2) and `Dream` (1)."""

from __future__ import annotations

import re
import shlex

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

_LONGEST = 20_000  # characters of a command line
_TAKEN = words(
    "app_version positive_prompt negative_prompt seed steps cfg_scale scheduler width height model loras rand_device "
    "clip_skip strength vae generation_mode"
)
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
    model = model if isinstance(model, dict) else {"name": model}
    kind, _, digest = text(model.get("hash")).partition(":")
    more = {name: value for name, value in written.items() if name not in _TAKEN}
    more |= {"Clip skip": _clip_skip(written), "Denoising strength": written.get("strength")}
    vae = written.get("vae")
    more["VAE"] = (vae.get("name") or vae.get("model_name")) if isinstance(vae, dict) else vae
    return FoundRecipe(
        program="InvokeAI",
        version=text(written.get("app_version")),
        prompt=text(written.get("positive_prompt")),
        negative=text(written.get("negative_prompt")),
        seed=whole(written.get("seed")),
        steps=whole(written.get("steps")),
        guidance=number(written.get("cfg_scale")),
        sampler=_sampler(text(written.get("scheduler")))[0],
        grid=_sampler(text(written.get("scheduler")))[1],
        width=whole(written.get("width")),
        height=whole(written.get("height")),
        model=stem(model.get("name") or model.get("model_name")),
        model_hash=digest if kind == "sha256" else "",
        noise={"cpu": "torch", "cuda": "cuda"}.get(text(written.get("rand_device")), ""),
        loras=_loras(written.get("loras")),
        more=plain(more),
    )


def read_second(written: Table) -> FoundRecipe:
    """What `sd-metadata` says. The negative prompt stands in [brackets] inside the prompt."""
    image = written["image"]
    asked = image.get("prompt")
    if isinstance(asked, list):
        asked = " ".join(text(part.get("prompt")) for part in asked if isinstance(part, dict))
    prompt, negative = _split(text(asked))
    sampler, grid = _sampler(text(image.get("sampler")).removeprefix("k_"))
    taken = words("prompt seed steps cfg_scale sampler width height strength type")
    more = {name: value for name, value in image.items() if name not in taken and value != 0}
    more["Denoising strength"] = image.get("strength")
    return FoundRecipe(
        program="InvokeAI",
        version=text(written.get("app_version")),
        prompt=prompt,
        negative=negative,
        seed=whole(image.get("seed")),
        steps=whole(image.get("steps")),
        guidance=number(image.get("cfg_scale")),
        sampler=sampler,
        grid=grid,
        width=whole(image.get("width")),
        height=whole(image.get("height")),
        model=stem(written.get("model_weights")),
        model_hash=text(written.get("model_hash")),
        more=plain(more),
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


def _loras(given: object) -> tuple[tuple[str, float], ...]:
    found = []
    for entry in given if isinstance(given, list) else []:
        if isinstance(entry, dict):
            model = entry.get("model") or entry.get("lora")
            name = (model.get("name") or model.get("model_name")) if isinstance(model, dict) else model
            found.append((stem(name), number(entry.get("weight")) or 0.0))
    return tuple(found)


def find(chunks: dict[str, str]) -> FoundRecipe | None:
    """The recipe in a picture's chunks, if InvokeAI wrote one."""
    third = table(chunks.get("invokeai_metadata", ""))
    if third is not None:
        return read(third)
    second = table(chunks.get("sd-metadata", ""))
    if second is not None and isinstance(second.get("image"), dict):
        return read_second(second)
    return read_first(chunks["Dream"]) if "Dream" in chunks else None
