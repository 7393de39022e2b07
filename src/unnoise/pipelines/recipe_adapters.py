r"""What a recipe says of adapters, parted by ", ", and the tags and hashes that A1111 reads for them.

A name that holds the parting itself has a backslash in it: "a,\ b".

ink.safetensors:0.8:0123456789ab                         a LoRA: file, weight, hash, and factors of parts if any
word inkstyle:inkstyle.pt:0123456789ab                   a textual inversion: word, file, hash
control canny.safetensors:0.8:0123456789ab:ba9876543210  a ControlNet: file, strength, hash, hash of its picture,
                                                         and the share of the steps if not all
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from unnoise.checkpoints.adapters import Lora
from unnoise.checkpoints.adapters.asked import blocks_of
from unnoise.checkpoints.hashes import WEIGHTS
from unnoise.errors import InputError
from unnoise.text.prompts import LoraTag, Prompt
from unnoise.text.prompts.compel import LORA

if TYPE_CHECKING:
    from unnoise.checkpoints.model import Model
    from unnoise.pipelines.recipe import Recipe

_NUMBER, _HASH = r"[-+.\de]{1,24}", r"[\da-f]{0,64}"
_LORA = re.compile(
    rf"(?P<name>.+?):(?P<weight>{_NUMBER}):(?P<hash>{_HASH})(?::(?P<blocks>[^: ]+))?", re.DOTALL
)
_WORD = re.compile(rf"word (?P<word>.+):(?P<name>[^:]+):(?P<hash>{_HASH})", re.DOTALL)
_CONTROL = re.compile(
    rf"control (?P<name>.+?):(?P<strength>{_NUMBER})(?::(?P<hash>{_HASH}):(?P<picture>{_HASH}))?"
    r"(?::(?P<start>[.\d]{1,24})-(?P<end>[.\d]{1,24}))?",
    re.DOTALL,
)
_TAG = re.compile(r"<(?:lora|lyco):([^:<>]{1,300})(?::[^<>]{0,200})?>")
_OTHER = ("control ", "word ", "refiner ")


@dataclass(frozen=True)
class Wanted:
    """A LoRA that a picture was made with.

    lora: its file is a name. digest: the beginning of the hash of its file, or of the numbers in it.
    """

    lora: Lora
    digest: str = ""

    @property
    def name(self) -> str:
        """Of the file, without folders and ending."""
        return plain_name(str(self.lora.file))


@dataclass(frozen=True)
class WantedWord:
    """A word of a textual inversion. name: of its file. digest: the beginning of that file's hash."""

    word: str
    name: str
    digest: str = ""


@dataclass(frozen=True)
class WantedControl:
    """A ControlNet. name: of its file or folder. digest, picture: beginnings of the hashes of it and of its picture."""

    name: str
    strength: float = 1.0
    digest: str = ""
    picture: str = ""
    start: float = 0.0
    end: float = 1.0


def plain_name(file: str) -> str:
    """A LoRA's name as tags have it: no folders, no ending of a file of weights."""
    path = PurePosixPath(file.replace("\\", "/"))
    return path.stem if path.suffix.lower() in WEIGHTS else path.name


def told_of(model: Model, text: str) -> str:
    """What a recipe says of a model's adapters: all of them, but of words those alone that stand in its prompts."""
    words = [one for one in model.taught if one.word.casefold() in text.casefold()]
    return joined(one.told for one in (*model.adapters, *words, *model.companions))


def joined(told: Iterable[str]) -> str:
    """A recipe's `adapters` of these; between a comma and a space in one of them goes one backslash more."""
    return ", ".join(re.sub(r",(\\*) ", r",\1\\ ", one) for one in told)


def parted(adapters: str) -> list[str]:
    """The inverse of `joined`, which reads what was written before there were backslashes too."""
    return [re.sub(r",(\\*)\\ ", r",\1 ", one) for one in adapters.split(", ") if one]


def wanted_of(adapters: str) -> tuple[list[Wanted], list[str]]:
    """The LoRAs of a recipe's `adapters`, and what else stands there, as it is told."""
    each = [(text, _lora(text)) for text in parted(adapters)]
    return [lora for _, lora in each if lora], [text for text, lora in each if not lora]


def _lora(told: str) -> Wanted | None:
    found = _LORA.fullmatch(told)
    if found is None or (told.startswith(_OTHER) and not _is_file(found)):
        return None
    with suppress(InputError, ValueError):
        blocks = blocks_of(told, found["blocks"]) if found["blocks"] else {}
        return Wanted(Lora(found["name"], float(found["weight"]), blocks), found["hash"])
    return None


def _is_file(found: re.Match[str]) -> bool:
    """Whether it can be nothing but a LoRA's file, which may be called "control sliders.safetensors" too."""
    return not found["blocks"] and PurePosixPath(found["name"]).suffix.lower() in WEIGHTS


def part_of(told: str) -> WantedWord | WantedControl | None:
    """The word or the ControlNet that stands there; None for something else."""
    if found := _WORD.fullmatch(told):
        return WantedWord(found["word"], found["name"], found["hash"])
    if found := _CONTROL.fullmatch(told):
        hashes = found["hash"] or "", found["picture"] or ""
        with suppress(ValueError):
            share = float(found["start"] or 0.0), float(found["end"] or 1.0)
            return WantedControl(found["name"], float(found["strength"]), *hashes, *share)
    return None


def tags_of(recipe: Recipe) -> str:
    """Tags for the LoRAs that its prompt has none for."""
    said = asked_by(recipe.prompt, "a1111")
    return " ".join(_tag(one).shown for one in wanted_of(recipe.adapters)[0] if one.name not in said)


def hashes_of(recipe: Recipe) -> dict[str, str]:
    """The settings in which A1111 keeps the hashes of LoRAs and of textual inversions: "ink: 0123456789ab, ..."."""
    loras, others = wanted_of(recipe.adapters)
    words = [one for one in map(part_of, others) if isinstance(one, WantedWord)]
    return {
        "Lora hashes": ", ".join(f"{one.name}: {one.digest}" for one in loras if one.digest),
        "TI hashes": ", ".join(f"{one.word}: {one.digest}" for one in words if one.digest),
    }


def hashes_in(setting: str) -> dict[str, str]:
    """Names and hashes of such a setting; what is no hash is passed over."""
    pairs = (part.rpartition(":") for part in setting.split(","))
    return {
        name.strip(): digest.strip().lower()
        for name, _, digest in pairs
        if name.strip() and re.fullmatch(r"\s*[\da-fA-F]{8,64}\s*", digest)
    }


def _tag(one: Wanted) -> LoraTag:
    blocks, weight = one.lora.blocks, one.lora.weight
    share = blocks.get("text_encoder", 1.0) if isinstance(blocks, Mapping) else 1.0
    return LoraTag(one.name, weight, weight * share)


def without_tags(prompt: str, style: str, names: Collection[str]) -> str:
    """A prompt without the tags of these LoRAs."""
    pattern = {"a1111": _TAG, "compel": LORA}.get(style)
    if pattern is None or not names:
        return prompt
    return pattern.sub(lambda tag: "" if tag[1].strip() in names else tag[0], prompt).strip()


def asked_by(prompt: str, style: str) -> frozenset[str]:
    """The names of the LoRAs that a prompt asks for; none where it cannot be read."""
    try:
        return frozenset(tag.name for tag in Prompt.read(prompt, style).loras)
    except InputError:
        return frozenset()
