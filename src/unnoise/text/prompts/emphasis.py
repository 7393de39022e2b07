r"""A1111's brackets of attention, read in one pass: (word), (word:1.2), [word], BREAK, and \( for a bracket as text.

A round pair multiplies the weight of what stands in it by 1.1 or by its number, a square pair by 1 / 1.1. A bracket
that is never closed counts to the end of the prompt; one that was never opened is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from unnoise.text.prompts.pieces import Piece, Sections, check_depth, joined, weight_of

MORE, LESS = 1.1, 1 / 1.1
_SPECIAL = re.compile(r"[\\()\[\]:]")
_NUMBER = re.compile(r":\s*([+-]?[.\d]+)\s*\)")
_ESCAPABLE = "\\()[]"
_BREAK = re.compile(r"\bBREAK\b")


def sections(text: str) -> Sections:
    """The weighed pieces of a text without schedules.

    Raises InputError for brackets nested too deep or a weight that is no number for a prompt.
    """
    reading = _Reading()
    place = 0
    while place < len(text):
        found = _SPECIAL.search(text, place)
        end = found.start() if found else len(text)
        reading.words(text[place:end])
        place = reading.mark(text, end) if found else end
    return reading.result()


@dataclass
class _Reading:
    """Stretches of text and their weights: where each BREAK stands, and where each bracket that is still open began.

    Each piece is weighed once for each bracket around it, of which there are at most twice NESTING: linear time.
    """

    texts: list[str] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    round: list[int] = field(default_factory=list)
    square: list[int] = field(default_factory=list)

    def words(self, text: str) -> None:
        """Text without marks, parted at each BREAK; the space around one belongs to it."""
        stretches = _BREAK.split(text)
        for place, stretch in enumerate(stretches, 1):
            if place > 1:
                self.breaks.append(len(self.texts))
                stretch = stretch.lstrip()
            self._add(stretch.rstrip() if place < len(stretches) else stretch)

    def mark(self, text: str, place: int) -> int:
        """Read the mark at `place`; returns where to go on."""
        mark = text[place]
        if mark == "\\":
            return self._escape(text, place)
        if mark in "([":
            self._open(self.round if mark == "(" else self.square)
            return place + 1
        if mark == ":":
            return self._number(text, place)
        opened, factor = (self.round, MORE) if mark == ")" else (self.square, LESS)
        if opened:
            self._weigh(opened.pop(), factor)
        else:
            self._add(mark)
        return place + 1

    def result(self) -> Sections:
        """All of it; what is still open counts to the end."""
        for opened, factor in ((self.round, MORE), (self.square, LESS)):
            for begin in opened:
                self._weigh(begin, factor)
        pieces = [Piece(text, weight) for text, weight in zip(self.texts, self.weights, strict=True)]
        ends = zip([0, *self.breaks], [*self.breaks, len(pieces)], strict=True)
        return tuple(joined(pieces[begin:end]) for begin, end in ends)

    def _add(self, text: str) -> None:
        self.texts.append(text)
        self.weights.append(1.0)

    def _weigh(self, begin: int, factor: float) -> None:
        for place in range(begin, len(self.weights)):
            self.weights[place] *= factor

    def _escape(self, text: str, place: int) -> int:
        following = text[place + 1 : place + 2]
        if following and following in _ESCAPABLE:
            self._add(following)
            return place + 2
        return place + 1

    def _open(self, opened: list[int]) -> None:
        opened.append(len(self.texts))
        check_depth(len(opened))

    def _number(self, text: str, place: int) -> int:
        found = _NUMBER.match(text, place) if self.round else None
        weight = weight_of(found[1], text[max(place - 20, 0) : found.end()]) if found else None
        if found is None or weight is None:
            self._add(":")
            return place + 1
        self._weigh(self.round.pop(), weight)
        return found.end()
