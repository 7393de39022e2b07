"""The LoRAs of a picture that is to be repeated: looked up by name and hash in the folder given, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unnoise.checkpoints.adapters import Applied, Lora
from unnoise.checkpoints.adapters.asked import in_folder
from unnoise.checkpoints.hashes import fits, weights_in
from unnoise.checkpoints.model import Model
from unnoise.files import expanded
from unnoise.pipelines.recipe_adapters import Wanted, plain_name
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
        file = None if folder is None else _file(one, folder)
        if file is None:
            why = f"there is no such file in '{folder}'" if folder else "its folder is not given (--lora-dir)"
            notes.append(f"LoRA '{one.name}' at {one.lora.weight:g} is not applied; {why}")
            missing |= {one.name, str(one.lora.file)}
            continue
        if not fits(file, one.digest):
            notes.append(_another(one, file.name))
        loras.append(replace(one.lora, file=file, name="" if plain_name(file.name) == one.name else one.name))
    return Looked(tuple(loras), frozenset(missing), tuple(notes))


def _file(one: Wanted, folder: str | Path) -> Path | None:
    """The file of its name; one of its hash where that is another or there is none."""
    named = in_folder(one.name, folder)
    if named is not None and fits(named, one.digest):
        return named
    return weights_in(expanded(folder), one.digest) or named


def _apart(one: Wanted, here: Applied) -> Iterator[str]:
    if here.asked.weight != one.lora.weight:
        yield f"LoRA '{one.name}' is at {here.asked.weight:g} here and was at {one.lora.weight:g}"
    if not here.adapter.numbers_sha256.startswith(one.digest) and not here.adapter.sha256.startswith(
        one.digest
    ):
        yield _another(one, here.adapter.name)


def _another(one: Wanted, file: str) -> str:
    return f"LoRA '{one.name}' had the hash {one.digest}; the file '{file}' is another"


def without_tags(text: str, style: str, names: frozenset[str]) -> str:
    """A prompt without the tags of these LoRAs."""
    pattern = {"a1111": _TAG, "compel": LORA}.get(style)
    if pattern is None or not names:
        return text
    return pattern.sub(lambda tag: "" if tag[1].strip() in names else tag[0], text).strip()
