r"""ComfyUI's weights: (word) is 1.1 times its surroundings, (word:1.2) is 1.2 whatever surrounds it; \( is a bracket.

`embedding:name` is a textual inversion's word. Square brackets, BREAK, AND and schedules are text there: its users have
nodes for them. What stands between brackets is told from what is in them even where both weigh the same: each such
stretch becomes tokens by itself, and stays in one chunk if it is short.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from unnoise.text.prompts.pieces import Piece, Sections, check_depth, weight_of

MORE = 1.1
_MARK = "embedding:"
_BEFORE_MARK = re.compile(f"[ \\n](?={_MARK})")
# Stand-ins for escaped brackets while the others are read; no keyboard makes them, and they go back into text.
_ROUND = {r"\)": "\x00\x01", r"\(": "\x00\x02"}


def sections(text: str) -> Sections:
    """The weighed pieces: one section, for ComfyUI knows no BREAK. Raises InputError for too deep a nest."""
    for written, hidden in _ROUND.items():
        text = text.replace(written, hidden)
    return (
        tuple(piece for words, weight in _weigh(text, 1.0, 0) for piece in _pieces(_shown(words), weight)),
    )


def _pieces(text: str, weight: float) -> Iterator[Piece]:
    """The text, parted where a name stands. A name ends at white space, or at commas that hang on it."""
    for part in _BEFORE_MARK.split(text):
        words = part.removeprefix(_MARK).split() if part.startswith(_MARK) else []
        if words:
            name = words[0].strip(",")
            yield Piece(name, weight, named=True)
            part = " ".join([words[0][len(name) :], *words[1:]])
        if part:
            yield Piece(part, weight)


def _shown(text: str) -> str:
    for written, hidden in _ROUND.items():
        text = text.replace(hidden, written[1:])
    return text


def _weigh(text: str, weight: float, depth: int) -> Iterator[tuple[str, float]]:
    """Stretches of text with their weights. Each depth reads a character once, and depths are few: linear time."""
    check_depth(depth)
    for item in _items(text):
        if len(item) < 2 or item[0] != "(" or item[-1] != ")":
            yield item, weight
            continue
        words, colon, number = item[1:-1].rpartition(":")
        own = weight_of(number, item) if colon and words else None
        inner, weighs = (item[1:-1], weight * MORE) if own is None else (words, own)
        yield from _weigh(inner, weighs, depth + 1)


def _items(text: str) -> Iterator[str]:
    """Brackets that stand in no other, and the text between; a bracket without its partner takes all that follows."""
    begin = depth = 0
    for place, letter in enumerate(text):
        if letter == "(":
            if depth == 0 and place > begin:
                yield text[begin:place]
                begin = place
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                yield text[begin : place + 1]
                begin = place + 1
    if begin < len(text):
        yield text[begin:]
