"""What a recipe says of adapters: "ink.safetensors:0.8:0123456789", and the tag that A1111 reads for it. Torch-free."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from unnoise.checkpoints.adapters import Lora
from unnoise.checkpoints.adapters.asked import SUFFIXES, blocks_of
from unnoise.errors import InputError
from unnoise.text.prompts import LoraTag, Prompt

if TYPE_CHECKING:
    from unnoise.pipelines.recipe import Recipe

_TOLD = re.compile(
    r"(?P<name>.+?):(?P<weight>[-+.\de]{1,24}):(?P<hash>[\da-f]{0,10})(?::(?P<blocks>[^: ]+))?"
)
_CONTROL = "control "


@dataclass(frozen=True)
class Wanted:
    """A LoRA that a picture was made with.

    lora: its file is a name. digest: the beginning of the file's sha256. told: as the recipe has it.
    """

    lora: Lora
    digest: str = ""
    told: str = ""

    @property
    def name(self) -> str:
        """Of the file, without folders and ending."""
        return plain_name(str(self.lora.file))


def plain_name(file: str) -> str:
    """A LoRA's name as tags have it: no folders, no ending of a file of weights."""
    path = PurePosixPath(file.replace("\\", "/"))
    return path.stem if path.suffix in SUFFIXES else path.name


def wanted_of(adapters: str) -> tuple[list[Wanted], list[str]]:
    """The LoRAs of a recipe's `adapters`, and what else stands there, such as ControlNets, as it is told."""
    loras, others = [], []
    for text in filter(None, adapters.split(", ")):
        found = None if text.startswith(_CONTROL) else _TOLD.fullmatch(text)
        lora = None if found is None else _lora(found)
        if lora is None or found is None:
            others.append(text)
        else:
            loras.append(Wanted(lora, found["hash"], text))
    return loras, others


def _lora(found: re.Match[str]) -> Lora | None:
    try:
        blocks = blocks_of(found[0], found["blocks"]) if found["blocks"] else {}
        return Lora(found["name"], float(found["weight"]), blocks)
    except (InputError, ValueError):
        return None


def tags_of(recipe: Recipe) -> str:
    """Tags for the LoRAs that its prompt has none for."""
    said = asked_by(recipe.prompt, "a1111")
    return " ".join(_tag(one).shown for one in wanted_of(recipe.adapters)[0] if one.name not in said)


def _tag(one: Wanted) -> LoraTag:
    blocks, weight = one.lora.blocks, one.lora.weight
    share = blocks.get("text_encoder", 1.0) if isinstance(blocks, Mapping) else 1.0
    return LoraTag(one.name, weight, weight * share)


def asked_by(prompt: str, style: str) -> frozenset[str]:
    """The names of the LoRAs that a prompt asks for; none where it cannot be read."""
    try:
        return frozenset(tag.name for tag in Prompt.read(prompt, style).loras)
    except InputError:
        return frozenset()
