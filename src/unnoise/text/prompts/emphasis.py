r"""A1111's brackets of attention, read in one pass: (word), (word:1.2), [word], BREAK, and \( for a bracket as text.

A round pair multiplies the weight of what stands in it by 1.1 or by its number, a square pair by 1 / 1.1. A bracket
that is never closed counts to the end of the prompt; one that was never opened is text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from unnoise.text.prompts.pieces import Piece, Sections, check_depth, joined, weight_of

MORE, LESS = 1.1, 1 / 1.1
_MARK = re.compile(r"\\([\\()\[\]])?|:\s*([+-]?[.\d]+)\s*\)|[()\[\]:]")
_BREAK = re.compile(r"\bBREAK\b")


def sections(text: str) -> Sections:
    """The weighed pieces of a text without schedules.

    Raises InputError for brackets nested too deep or a weight that is no number for a prompt.
    """
    reading = _Reading()
    place = 0
    for found in _MARK.finditer(text):
        reading.words(text[place : found.start()])
        reading.mark(found)
        place = found.end()
    reading.words(text[place:])
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

    def mark(self, found: re.Match[str]) -> None:
        """Heed one mark. A backslash itself says nothing."""
        mark = found[0]
        if mark[0] == "\\":
            self._add(found[1] or "")
        elif mark in "([":
            self._open(self.round if mark == "(" else self.square)
        elif mark in ")]":
            self._close(mark)
        else:
            self._number(found)

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

    def _open(self, opened: list[int]) -> None:
        opened.append(len(self.texts))
        check_depth(len(opened))

    def _close(self, mark: str) -> None:
        opened, factor = (self.round, MORE) if mark == ")" else (self.square, LESS)
        if opened:
            self._weigh(opened.pop(), factor)
        else:
            self._add(mark)

    def _number(self, found: re.Match[str]) -> None:
        """A colon, with the weight and the bracket after it if they are there; without a sense all is text."""
        context = found.string[max(found.start() - 20, 0) : found.end()]
        weight = weight_of(found[2], context) if found[2] and self.round else None
        if weight is not None:
            self._weigh(self.round.pop(), weight)
            return
        words, bracket, _ = found[0].partition(")")
        self._add(words)
        if bracket:
            self._close(bracket)
