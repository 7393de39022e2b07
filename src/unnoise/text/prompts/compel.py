r"""compel's weights: word+ and word++, (some words)-, (some words)1.3, "some words".attend(1.3); \( is a bracket.

Each + is 1.1 and each - is 0.9, and weights of what surrounds multiply. A + or - inside a word (hot-dog) is part of it;
after a bracket it weighs, whatever follows.
withLora(name, 0.8) asks for a LoRA. What compel makes of several prompts, .blend(), .and() and .swap(), is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from unnoise.errors import InputError
from unnoise.text.prompts.pieces import Piece, Sections, Weighed, check_depth, joined, weight_of
from unnoise.text.prompts.tags import LoraTag

MORE, LESS = 1.1, 0.9
_SYNTAX = '(),."+-='
_PLAIN = re.compile(r'[^\s\\(),."+\-=]+|\s+')
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_ATTEND = re.compile(r"\.attend\(\s*(\++|-+|[0-9]+\.?[0-9]*|\.[0-9]+)\s*\)")
LORA = re.compile(r"(?:use|with)Lora\(\s*([\w-]+)\s*(?:,\s*(-?[0-9]*\.?[0-9]+)\s*)?\)")
_SEVERAL = re.compile(r"\.(?:blend|and|add|swap)\(")
_PARTNER = {")": "(", '"': '"'}


def read(text: str) -> tuple[Sections, tuple[LoraTag, ...]]:
    """The weighed pieces, in one section, and the LoRAs asked for.

    Raises InputError for brackets nested too deep, a weight that is no number for a prompt, and what is not read here.
    """
    reading = _Reading(text=text)
    place = 0
    while place < len(text):
        place = reading.take(place)
    pieces: list[Piece] = []
    for words, weight in zip(reading.texts, reading.weights, strict=True):
        # space between words of one weight does not part them: what fades there fades together
        pieces.append(Piece(words, pieces[-1].weight if pieces and words.isspace() else weight))
    return (joined(pieces),), tuple(reading.loras)


@dataclass
class _Reading(Weighed):
    """What has been read of `text`; `open`: brackets and quotes that are still open, each with its piece.

    target: the first piece of what a weight at this place would be of; None where nothing stands just before.
    """

    text: str = ""
    loras: list[LoraTag] = field(default_factory=list)
    open: list[tuple[str, int]] = field(default_factory=list)
    target: int | None = None
    grouped: bool = False

    def take(self, place: int) -> int:
        """Read what begins at `place`; returns where to go on."""
        letter = self.text[place]
        if self.target is not None and self.grouped and (found := _NUMBER.match(self.text, place)):
            return self._weigh(weight_of(found[0], found[0]), found.end())
        if letter == "\\":
            following = self.text[place + 1 : place + 2]
            return self._word(
                place, 2 if following and following in _SYNTAX else 1, letters=following or letter
            )
        if letter in '()"':
            return self._bracket(letter, place)
        if letter in "+-":
            return self._signs(letter, place)
        if letter == ".":
            return self._point(place)
        return self._plain(place)

    def _plain(self, place: int) -> int:
        if found := LORA.match(self.text, place):
            weight = weight_of(found[2] or "1", found[0])
            self.loras.append(LoraTag(found[1], *(1.0 if weight is None else weight,) * 2))
            return self._end(found.end())
        found = _PLAIN.match(self.text, place)
        if found is None or found[0].isspace():
            self.add(self.text[place] if found is None else found[0])
            return self._end(place + 1 if found is None else found.end())
        return self._word(place, len(found[0]))

    def _word(self, place: int, length: int, letters: str = "") -> int:
        """Letters that join the word before them, if there is one."""
        begin = len(self.texts) if self.target is None or self.grouped else self.target
        self.add(letters or self.text[place : place + length])
        self.target, self.grouped = begin, False
        return place + length

    def _bracket(self, letter: str, place: int) -> int:
        partner = _PARTNER.get(letter)
        found = next(
            (back for back in reversed(range(len(self.open))) if self.open[back][0] == partner), None
        )
        if found is not None:
            _, begin = self.open[found]
            del self.open[found:]
            self.texts[begin] = " "  # compel parts what is in brackets from what is beside them
            self.add(" ")
            self.target, self.grouped = begin, True
            return place + 1
        if letter != ")":
            self.open.append((letter, len(self.texts)))
            check_depth(len(self.open))
        self.add(letter)
        return self._end(place + 1)

    def _signs(self, sign: str, place: int) -> int:
        end = place + 1
        while self.text[end : end + 1] == sign:
            end += 1
        following = self.text[end : end + 1]
        inside = end == place + 1 and following and not following.isspace() and following not in _SYNTAX
        if self.target is None or (inside and not self.grouped):
            return self._word(place, end - place)
        return self._weigh((MORE if sign == "+" else LESS) ** (end - place), end)

    def _point(self, place: int) -> int:
        if self.target is not None:
            if found := _SEVERAL.match(self.text, place):
                raise InputError(
                    f"'{found[0]}' of compel is not read here; only its weights are, such as word+ and (words)1.3. "
                    "Prompts are joined by AND in the style a1111."
                )
            if found := _ATTEND.match(self.text, place):
                signs = found[1]
                base = {"+": MORE, "-": LESS}.get(signs[0])
                factor = weight_of(signs, found[0]) if base is None else base ** len(signs)
                return self._weigh(factor, found.end())
        self.add(".")
        return self._end(place + 1)

    def _weigh(self, factor: float | None, end: int) -> int:
        assert self.target is not None
        self.weigh(self.target, 1.0 if factor is None else factor)
        return self._end(end)

    def _end(self, place: int) -> int:
        self.target = None
        return place
