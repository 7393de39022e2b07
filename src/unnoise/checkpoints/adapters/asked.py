"""What is asked for: a LoRA file, how strongly, and where. Torch-free."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from unnoise.checkpoints.hashes import WEIGHTS
from unnoise.checkpoints.locations import find_lora
from unnoise.errors import FileError, InputError
from unnoise.files import expanded
from unnoise.limits import Declared, shown

if TYPE_CHECKING:
    from unnoise.text.prompts import LoraTag

SETTINGS = "adapter_config.json"
"""What makes a folder one that PEFT wrote."""

_SHOWN = 8


Weight = Annotated[float, (-100.0, 100.0)]


@dataclass(frozen=True)
class Lora(Declared):
    """One adapter: its file, its strength, and factors of single parts of the model.

    file: a file, a folder of PEFT, of diffusers or of a training run, or a name in the folder of LoRAs. weight: 0
    changes nothing, 1 is what it was trained for. blocks: factors of the weight by the beginning of a layer's name
    ("text_encoder", "down_blocks.1", "mid_block", "up_blocks", ...; the longest that fits counts), or a list of 17 or
    26 (12 or 20 for XL) numbers in the order of Stable Diffusion's blocks, the first for the text encoders. name:
    what prompts and recipes call it, where that is not the file's own name.
    """

    file: str | Path
    weight: Weight = 1.0
    blocks: Mapping[str, Weight] | Sequence[Weight] = field(default_factory=dict)
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Lora:
        """From FILE[:WEIGHT[:BLOCKS]], BLOCKS being `name=factor` or numbers, parted by commas. Raises InputError."""
        file, *rest = _parts(text)
        weight = _number(text, rest[0]) if rest else 1.0
        return cls(file, weight, blocks_of(text, rest[1]) if len(rest) > 1 else {})

    def find(self, folder: str | Path | None = None) -> Path:
        """The file. Raises FileError, with the nearest names of the folder, when there is none."""
        path = expanded(self.file)
        # another folder may have a LoRA's name; pathlib's own question raises for a name that is too long
        if os.path.isfile(path) or os.path.isfile(path / SETTINGS):
            return path
        made = find_lora(path) if os.path.isdir(path) else None
        return made or self.within(folder)

    def within(self, folder: str | Path | None) -> Path:
        """The file of this name in the folder and nowhere else, for names that strangers give. Raises FileError."""
        known = [] if folder is None else _files(expanded(folder))
        for place in known:
            if str(self.file) in (place.name, place.stem):
                return place
        names = [place.stem for place in known]
        if near := difflib.get_close_matches(Path(self.file).stem, names, n=3):
            hint = f"did you mean {', '.join(near)}?"
        elif names:
            hint = f"there are {', '.join(names[:_SHOWN] + ['...'] * (len(names) > _SHOWN))}."
        else:
            hint = "give the path of a .safetensors file."
        where = f" in '{folder}'" if folder is not None else ""
        raise FileError(f"there is no LoRA '{self.file}'{where}; {hint}")


Asked = Lora | str | Path | tuple[str | Path, float]
"""A LoRA, or its file alone or with a weight."""


def as_lora(asked: Asked) -> Lora:
    """With weight 1 where only the file is given."""
    if isinstance(asked, Lora):
        return asked
    if not isinstance(asked, tuple):
        return Lora(asked)
    if len(asked) != 2:
        raise InputError(
            f"a LoRA is {shown(asked)}; give a file, or a file and its weight: ('ink.safetensors', 0.8)."
        )
    return Lora(*asked)


def of_tag(tag: LoraTag) -> Lora:
    """What a tag asks for. Raises InputError for one that is for the text alone."""
    if tag.text == tag.network:
        return Lora(tag.name, tag.network)
    if not tag.network:
        raise InputError(
            f"the tag '{tag.shown}' is for the text alone; use --lora FILE:1:text_encoder=1,unet=0."
        )
    return Lora(tag.name, tag.network, {"text_encoder": tag.text / tag.network})


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileError(f"there is no folder '{folder}' of LoRAs; give one that exists.")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in WEIGHTS and path.is_file())


def exact(value: float) -> str:
    """A number as recipes keep it: as short as it reads, and the same number again."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def _parts(text: str) -> list[str]:
    """FILE, WEIGHT, BLOCKS; a path may hold colons, what follows the last ones may not look like one."""
    left, colon, last = text.rpartition(":")
    if not colon or not left or os.path.exists(text):
        return [text]
    if "=" in last or "," in last:
        file, weight = left.rpartition(":")[::2] if ":" in left else (left, "1")
        return [file, weight, last]
    looks_like_path = "/" in last or "\\" in last or last.lower().endswith(WEIGHTS)
    return [text] if looks_like_path else [left, last]


def blocks_of(text: str, words: str) -> dict[str, float] | list[float]:
    """Factors of parts out of `words`; text: all that was given, for the message. Raises InputError."""
    each = [word.strip() for word in words.split(",")]
    if "=" not in words:
        return [_number(text, word) for word in each]
    pairs = [word.partition("=") for word in each]
    found = {name: _number(text, value) for name, _, value in pairs}
    if len(found) < len(pairs):
        raise InputError(f"LoRA '{text}': a part is named twice; give one factor for each.")
    return found


def _number(text: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InputError(
            f"LoRA '{text}': {word!r} is no number; give FILE:0.8, or FILE:0.8:mid_block=0.5,text_encoder=0."
        ) from None
