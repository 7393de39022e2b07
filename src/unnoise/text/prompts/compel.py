r"""compel's weights: word+ and word++, (some words)-, (some words)1.3, "some words".attend(1.3); \( is a bracket.

Each + is 1.1 and each - is 0.9, and weights of what surrounds multiply. As compel has it, a mark counts where an item
begins: after white space, after a weight, or anywhere in brackets that can be read to their end. Everything else is
words up to the next white space: x(y)+, 3.5-inch+, and brackets in which a mark has nothing to weigh, (a - b)1.2.
withLora(name, 0.8) asks for a LoRA. What compel makes of several prompts, .blend(), .and() and .swap(), is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from unnoise.errors import InputError
from unnoise.text.prompts.pieces import Piece, Sections, check_depth, joined, weight_of
from unnoise.text.prompts.tags import LoraTag

MORE, LESS = 1.1, 0.9
LORA = re.compile(r"(?:use|with)Lora\(\s*([\w-]+)\s*(?:,\s*(-?[0-9]*\.?[0-9]+)\s*)?\)")
_SPACE = re.compile(r"\s+", re.ASCII)
_FREE = re.compile(r"\S+", re.ASCII)
_WORD = re.compile(r'(?:\\[(),."+\-=]|[-+](?=[^\s(),."+\-=])|[^\s(),."+\-=])+', re.ASCII)
_QUOTED = re.compile(r'"(?:\\"|[^"\n\r])*"')
_NUMBER = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_SIGNS = re.compile(r"\++|-+")
_MARK = re.compile(rf"\++|-+|{_NUMBER}")
_ATTEND = re.compile(rf"\s*\.attend\(\s*(\++|-+|{_NUMBER})\s*\)", re.ASCII)
_SEVERAL = re.compile(r"\s*\.(?:blend|and|add|swap)\(", re.ASCII)
_ESCAPED = re.compile(r'(?<!\\)\\+([(),."+\-=])')

_Items = list[Piece | LoraTag]
_Read = tuple[int, _Items]
"""Where reading goes on, and what was read."""


def read(text: str) -> tuple[Sections, tuple[LoraTag, ...]]:
    """The weighed pieces, in one section, and the LoRAs asked for.

    Raises InputError for brackets nested too deep, a weight that is no number for a prompt, and what is not read here.
    """
    items = _Reading(re.sub(r",(\S)", r", \1", text)).all()
    pieces: list[Piece] = []
    for item in items:
        if isinstance(item, LoraTag):
            continue
        if item.text.isspace():
            # space between words of one weight does not part them: what fades there fades together
            item = replace(item, weight=pieces[-1].weight if pieces else item.weight)
        elif pieces and not pieces[-1].text.isspace():
            item = replace(item, text=f" {item.text}")  # compel parts items that stand side by side
        pieces.append(item)
    return (joined(pieces),), tuple(item for item in items if isinstance(item, LoraTag))


@dataclass
class _Reading:
    """groups: brackets and quotes by their place and the end of what they stand in; each is read once: linear time."""

    text: str
    groups: dict[tuple[int, int], _Read | None] = field(default_factory=dict)

    def all(self) -> _Items:
        """The whole text."""
        items: _Items = []
        place, end = 0, len(self.text)
        while place < end:
            place, found = self._item(place, end, 0) or self._free(place)
            items += found
        return items

    def _free(self, place: int) -> _Read:
        found = _FREE.match(self.text, place)
        assert found is not None  # white space is an item
        return found.end(), [_words(found[0])]

    def _item(self, place: int, end: int, depth: int) -> _Read | None:
        """What begins here with a meaning; words without a mark only in brackets. None for nothing."""
        if found := _SPACE.match(self.text, place, end):
            return found.end(), [Piece(found[0])]
        if found := LORA.match(self.text, place, end):
            weight = weight_of(found[2] or "1", found[0])
            return found.end(), [LoraTag(found[1], *(1.0 if weight is None else weight,) * 2)]
        group = self._group(place, end, depth)
        read = group or self._word(place, end)
        return read and (
            self._weighed(read, end, grouped=group is not None) or (read if group or depth else None)
        )

    def _word(self, place: int, end: int) -> _Read | None:
        found = _WORD.match(self.text, place, end)
        return found and (found.end(), [_words(found[0])])

    def _weighed(self, read: _Read, end: int, grouped: bool) -> _Read | None:
        """The items with the mark that follows them; None where none does."""
        place, items = read
        if found := _SEVERAL.match(self.text, place, end):
            raise InputError(
                f"'{found[0].strip()}' of compel is not read here; only its weights are, such as word+ and "
                "(words)1.3. Prompts are joined by AND in the style a1111."
            )
        found = _ATTEND.match(self.text, place, end) or (_MARK if grouped else _SIGNS).match(
            self.text, place, end
        )
        if found is None:
            return None
        mark = found[found.lastindex or 0]
        base = {"+": MORE, "-": LESS}.get(mark[0])
        factor = weight_of(mark, mark) if base is None else base ** len(mark)
        assert factor is not None
        return found.end(), [
            replace(item, weight=item.weight * factor) if isinstance(item, Piece) else item for item in items
        ]

    def _group(self, place: int, end: int, depth: int) -> _Read | None:
        """Brackets or quotes that begin here and can be read to their end."""
        if self.text[place] not in '("':
            return None
        if (place, end) not in self.groups:
            check_depth(depth + 1)
            read = self._brackets if self.text[place] == "(" else self._quotes
            self.groups[place, end] = read(place, end, depth + 1)
        return self.groups[place, end]

    def _brackets(self, place: int, end: int, depth: int) -> _Read | None:
        inside = self._inside(place + 1, end, depth)
        return None if inside is None or inside[0] == end else (inside[0] + 1, inside[1])

    def _quotes(self, place: int, end: int, depth: int) -> _Read | None:
        found = _QUOTED.match(self.text, place, end)
        inside = found and self._inside(place + 1, found.end() - 1, depth)
        return (found.end(), inside[1]) if found and inside and inside[0] == found.end() - 1 else None

    def _inside(self, place: int, end: int, depth: int) -> _Read | None:
        """All up to the end, or to a bracket that closes; None where something has no meaning."""
        items: _Items = []
        while place < end and self.text[place] != ")":
            letter = self.text[place]
            read = (place + 1, [Piece(letter)]) if letter in ",." else self._item(place, end, depth)
            if read is None:
                return None
            place, found = read
            items += found
        return place, items


def _words(written: str) -> Piece:
    return Piece(_ESCAPED.sub(r"\1", written))
