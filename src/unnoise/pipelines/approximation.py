"""What a run may do faster and less exactly: a few numbers, and the words of recipes and command lines for them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import Any, ClassVar, TypeVar

from unnoise.errors import InputError
from unnoise.limits import Declared, as_declared

Own = TypeVar("Own", bound="Approximation")


class Approximation(Declared):
    """Frozen dataclasses of a few numbers, the first of which may be given alone; 0 stands for none in the others.

    named: what it is called in what is said.
    """

    named: ClassVar[str]

    def __post_init__(self) -> None:
        as_declared(self, f"{self.named}'s ")

    def to_text(self) -> str:
        """For a recipe: "turn 0.15", "every 3 blocks 1"."""
        first, *others = _names(type(self))
        told = {first: getattr(self, first)} | {name: getattr(self, name) or None for name in others}
        return " ".join(f"{name} {value}" for name, value in told.items() if value is not None)

    @classmethod
    def from_text(cls: type[Own], text: str) -> Own:
        """The inverse of `to_text`, with or without "=" and ","; a number alone is the first. Raises InputError."""
        words, names = text.replace("=", " ").replace(",", " ").split(), _names(cls)
        words = [names[0], *words] if len(words) == 1 else words
        told = {name: _number(word) for name, word in zip(words[::2], words[1::2], strict=False)}
        if 2 * len(told) != len(words) or not set(told) <= set(names) or None in told.values():
            raise InputError(f"'{text[:40]}' makes no sense as {cls.named}; give {cls.example}.")
        return cls(**{names[0]: None, **told})

    @classmethod
    def of(cls: type[Own], given: float | str | Own | None) -> Own | None:
        """A number as the first, a text as `from_text` reads it, None for none."""
        if given is None or isinstance(given, cls):
            return given
        return cls.from_text(given) if isinstance(given, str) else cls(**{_names(cls)[0]: given})


def _names(kind: Any) -> list[str]:  # noqa: ANN401 - any dataclass
    return [each.name for each in fields(kind)]


def _number(word: str) -> float | None:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(word)
    return None
