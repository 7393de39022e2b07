"""The LoRAs of a picture that is to be repeated: looked up by name and hash in the folder given, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unnoise.checkpoints.adapters import Applied, Lora
from unnoise.checkpoints.model import Model
from unnoise.pipelines.recipe_adapters import Wanted, plain_name
from unnoise.pipelines.repeat_parts import another, find
from unnoise.text.prompts.compel import LORA

_TAG = re.compile(r"<(?:lora|lyco):([^:<>]{1,300})(?::[^<>]{0,200})?>")


@dataclass(frozen=True)
class Looked:
    """What came of the search. loras: to be loaded. missing: names. notes: what is not as it was, a sentence each."""

    loras: tuple[Lora, ...] = ()
    missing: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def look(wanted: Sequence[Wanted], model: Model, folder: str | Path | None) -> Looked:
    """Those that the model does not have, by their files in `folder`. Raises FileError without that folder."""
    here = {Path(one.adapter.name).stem: one for one in model.adapters}
    loras, missing, notes = [], set(), list[str]()
    for one in wanted:
        if one.name in here:
            notes += _apart(one, here[one.name])
            continue
        what = f"LoRA '{one.name}' at {one.lora.weight:g}"
        file, said = find(what, one.name, one.digest, folder, "--lora-dir")
        notes += said
        if file is None:
            missing |= {one.name, str(one.lora.file)}
        else:
            name = "" if plain_name(file.name) == one.name else one.name
            loras.append(replace(one.lora, file=file, name=name))
    return Looked(tuple(loras), frozenset(missing), tuple(notes))


def _apart(one: Wanted, here: Applied) -> Iterator[str]:
    now, before = f"{here.asked.weight:g}", f"{one.lora.weight:g}"
    if now != before:
        yield f"LoRA '{one.name}' is at {now} here and was at {before}"
    if not here.adapter.numbers_sha256.startswith(one.digest) and not here.adapter.sha256.startswith(
        one.digest
    ):
        yield another(f"LoRA '{one.name}'", one.digest, here.adapter.name)


def without_tags(text: str, style: str, names: frozenset[str]) -> str:
    """A prompt without the tags of these LoRAs."""
    pattern = {"a1111": _TAG, "compel": LORA}.get(style)
    if pattern is None or not names:
        return text
    return pattern.sub(lambda tag: "" if tag[1].strip() in names else tag[0], text).strip()
