"""Texts of options -> values. Each refusal names the option, what was given, and an example."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from unnoise.errors import FileError, InputError
from unnoise.files import expanded

Value = TypeVar("Value")

MODEL = "name, folder, training run, .safetensors or .ckpt file, or OWNER/NAME on the hub"
"""What a model may be told by, as the help of each command says it."""


def maybe(read: Callable[..., Value], flag: str, text: str | None, *limits: object) -> Value | None:
    """What `read` makes of an option's text; None where the option was not given."""
    return None if text is None else read(flag, text, *limits)


def whole(flag: str, text: str, low: int, high: int, example: int) -> int:
    """A whole number from `low` to `high`."""
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise _refusal(flag, text, f"a whole number from {low} to {high:,}, for example {example}")
    return value


def number(flag: str, text: str, low: float, high: float, example: float) -> float:
    """A finite number from `low` to `high`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not low <= value <= high:
        raise _refusal(flag, text, f"a number from {low:g} to {high:g}, for example {example:g}")
    return value


def size(flag: str, text: str) -> tuple[int, int]:
    """Width and height, written WxH."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2:
        raise _refusal(flag, text, "width x height in pixels, for example 32x32")
    width, height = (whole(flag, part, 1, 4096, 32) for part in parts)
    return width, height


def choice(flag: str, text: str, known: Collection[str]) -> str:
    """One of these words."""
    if text not in known:
        raise _refusal(flag, text, f"one of {', '.join(known)}")
    return text


def word(flag: str, text: str) -> str:
    """A word, a name or a path. An empty one is most often a shell's variable that is not set."""
    if not text.strip():
        raise InputError(f"{flag} is empty; give a word, a name or a path.")
    return text


def path(flag: str, text: str) -> Path:
    """A path, its ~ put in full. One that is empty would be the folder that one stands in, and is refused."""
    return expanded(word(flag, text))


def existing(flag: str, text: str, wanted: str = "a PNG, JPEG or WebP picture") -> Path:
    """A path of a file that is there. Raises FileError where it is not."""
    found = path(flag, text)
    if not found.is_file():
        raise FileError(f"{flag} is '{found}', and there is no such file; give {wanted}.")
    return found


def folder(flag: str, text: str) -> Path:
    """A path of a folder that is there. Raises FileError where it is not."""
    found = path(flag, text)
    if not found.is_dir():
        raise FileError(f"{flag} is '{found}', and there is no such folder; give one that exists.")
    return found


def widths(flag: str, text: str) -> tuple[int, ...]:
    """Whole numbers parted by commas."""
    return tuple(whole(flag, part.strip(), 1, 65_536, 64) for part in text.split(","))


def _refusal(flag: str, text: str, wanted: str) -> InputError:
    shown = text if text.strip() and len(text) <= 40 else repr(text[:40])
    return InputError(f"{flag} is {shown}; give {wanted}.")
