"""What a prompt comes to when it has been read: words with weights, in sections. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from unnoise.errors import InputError

NESTING = 64
"""How deep brackets may stand inside one another: no person nests so deep, and it keeps reading linear."""
HEAVIEST = 100.0
"""The largest weight, either way; far beyond what a network was trained for, far below overflow."""


@dataclass(frozen=True)
class Piece:
    """A stretch of words that has one weight; 1 is plain.

    named: whether the text names a textual inversion, which says nothing to a model that was not taught it.
    """

    text: str
    weight: float = 1.0
    named: bool = False


Sections = tuple[tuple[Piece, ...], ...]
"""At least one section, each of pieces; a section begins a new chunk (A1111's BREAK)."""


@dataclass(frozen=True)
class Phrase:
    """Words that the network is asked with once. weight: of its answer, where a prompt has several (AND)."""

    sections: Sections
    weight: float = 1.0

    @property
    def text(self) -> str:
        """The words without their weights."""
        return "".join(piece.text for section in self.sections for piece in section)

    @classmethod
    def plain(cls, text: str) -> Phrase:
        """The text as it stands."""
        return cls(((Piece(text),),) if text else ((),))


def weight_of(text: str, shown: str) -> float | None:
    """The number that `text` spells; None where it spells none.

    shown: what the person wrote. Raises InputError for a number that no prompt can be weighed with.
    """
    try:
        weight = float(text)
    except ValueError:
        return None
    if not math.isfinite(weight) or abs(weight) > HEAVIEST:
        raise InputError(
            f"the weight in '{short(shown)}' is {weight:g}; give one from -{HEAVIEST:g} to {HEAVIEST:g}, "
            "for example 1.2."
        )
    return weight


def check_depth(depth: int) -> None:
    """Raises InputError for brackets that stand too deep inside one another."""
    if depth > NESTING:
        raise InputError(
            f"the prompt opens more than {NESTING} brackets inside one another; close some, or write "
            r"brackets that are meant as text with a backslash: \(."
        )


def joined(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Neighbours of the same weight as one piece; pieces without text are left out."""
    told = (piece for piece in pieces if piece.text)
    runs = groupby(told, lambda piece: piece.weight)
    return tuple(Piece("".join(piece.text for piece in run), weight) for weight, run in runs)


def short(text: str) -> str:
    """As much of a text as a sentence holds."""
    return text if len(text) <= 40 else f"{text[:40]}..."
