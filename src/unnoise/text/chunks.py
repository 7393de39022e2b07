"""Weighed words -> chunks of tokens, each as long as the text encoder takes at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from unnoise.errors import InputError
from unnoise.text.prompts import Piece, Sections
from unnoise.text.tokenizer import PromptTokenizer

MOST = 64
"""The most chunks of one prompt: 4,800 tokens, past which memory goes and no model heeds."""
BACKTRACK = 20
"""A1111: words after a comma among a full chunk's last tokens, so many at most, go on to the next chunk with it."""
WORD = 8
"""ComfyUI: a word of fewer tokens is not parted between chunks."""


@dataclass
class Chunk:
    """Tokens between one start and one end token. weights: of each. pieces: which stretch of words each is from."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: Sequence[int], weight: float, piece: int) -> None:
        """More tokens of one piece."""
        self.ids += ids
        self.weights += [weight] * len(ids)
        self.pieces += [piece] * len(ids)

    def split(self, place: int) -> tuple[Chunk, Chunk]:
        """The tokens before a place, and the others."""
        parts = [
            (self.ids[part], self.weights[part], self.pieces[part])
            for part in (slice(place), slice(place, None))
        ]
        return Chunk(*parts[0]), Chunk(*parts[1])


def chunked(tokenizer: PromptTokenizer, sections: Sections, room: int, style: str) -> list[Chunk]:
    """All words in as many chunks as it takes, at least one; each section begins a new one.

    room: tokens of a chunk beside start and end, 75 for CLIP. style: "comfyui" keeps words whole, "compel" goes
    back to a full stop, the others to a comma. Raises InputError for more than 64 chunks.
    """
    number = 0
    chunks: list[Chunk] = []
    for section in sections:
        found = [Chunk()]
        for piece in section:
            _RULES.get(style, _to_comma)(tokenizer, found, piece, number, room)
            number += 1
        chunks += found
    if len(chunks) > 1 and not chunks[-1]:
        chunks.pop()  # nothing stands after the last BREAK
    if len(chunks) > MOST:
        raise InputError(
            f"the prompt has {sum(map(len, chunks)):,} tokens, which are {len(chunks)} chunks of {room}; at most "
            f"{MOST} chunks are taken. Shorten it."
        )
    return chunks


def one_chunk(tokenizer: PromptTokenizer, section: Sequence[Piece], room: int) -> tuple[Chunk, str]:
    """The words that fit into one chunk, and the text of those that do not."""
    chunk, cut = Chunk(), ""
    for number, piece in enumerate(section):
        left = room - len(chunk)
        ids = [] if cut else tokenizer.encode(piece.text)
        chunk.add(ids[:left], piece.weight, number)
        if cut:
            cut += piece.text
        elif len(ids) > left:
            cut = tokenizer(piece.text, left + 2).cut[0]
    return chunk, cut.rstrip()


def _to_comma(tokenizer: PromptTokenizer, chunks: list[Chunk], piece: Piece, number: int, room: int) -> None:
    """A1111: when a chunk is full and a comma is near its end, what follows the comma goes on to the next."""
    comma = _marks(tokenizer, ",")
    for token in tokenizer.encode(piece.text):
        chunk = chunks[-1]
        if len(chunk) == room:
            last = _last(chunk.ids, comma, BACKTRACK) if token not in comma else None
            if last is None:
                chunks.append(Chunk())
            else:
                chunks[-1:] = chunk.split(last + 1)
        chunks[-1].add((token,), piece.weight, number)


def _last(ids: Sequence[int], tokens: Collection[int], near: int) -> int | None:
    """The place of the last such token, if it is among the last `near`."""
    places = (place for place in range(len(ids) - 1, max(len(ids) - near, 0) - 1, -1) if ids[place] in tokens)
    return next(places, None)


def _words(tokenizer: PromptTokenizer, chunks: list[Chunk], piece: Piece, number: int, room: int) -> None:
    """ComfyUI: a word that does not fit goes on to the next chunk as a whole, unless it is long."""
    for word in piece.text.replace("\n", " ").split(" "):
        ids = tokenizer.encode(word) if word else []
        whole = len(ids) < min(WORD, room)
        while len(chunks[-1]) + len(ids) > room:
            left = 0 if whole else room - len(chunks[-1])
            chunks[-1].add(ids[:left], piece.weight, number)
            ids = ids[left:]
            chunks.append(Chunk())
        chunks[-1].add(ids, piece.weight, number)


def _sentences(tokenizer: PromptTokenizer, chunks: list[Chunk], piece: Piece, number: int, room: int) -> None:
    """compel: a full chunk goes back to its last full stop, or failing that to any mark, and the rest goes on."""
    stop, marks = _marks(tokenizer, "."), _marks(tokenizer, ".,;:")
    chunks[-1].add(tokenizer.encode(piece.text), piece.weight, number)
    while len(chunks[-1]) > room:
        first = chunks[-1].ids[:room]
        places = [_last(first, stop, room), _last(first, marks, room), room - 1]
        chunks[-1:] = chunks[-1].split(next(place for place in places if place is not None) + 1)


def _marks(tokenizer: PromptTokenizer, letters: str) -> frozenset[int]:
    """The tokens of punctuation."""
    found = [tokenizer.encode(letter) for letter in letters]
    return frozenset(ids[0] for ids in found if len(ids) == 1)


_RULES = {"comfyui": _words, "compel": _sentences}
