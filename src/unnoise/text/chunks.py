"""Weighed words -> chunks of tokens, each as long as the text encoder takes at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from unnoise.errors import InputError
from unnoise.text.prompts import Piece, Sections
from unnoise.text.taught import ids_of
from unnoise.text.tokenizer import PromptTokenizer

MOST = 64
"""The most chunks of one prompt: 4,800 tokens, past which memory goes and no model heeds."""
BACKTRACK = 20
"""A1111: words after a comma among a full chunk's last tokens, so many at most, go on to the next chunk with it."""
SHORT = 8
"""ComfyUI: a stretch between brackets, or an embedding, of fewer tokens is not parted between chunks."""


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
        before, after = slice(place), slice(place, None)
        return (
            Chunk(self.ids[before], self.weights[before], self.pieces[before]),
            Chunk(self.ids[after], self.weights[after], self.pieces[after]),
        )


def chunked(tokenizer: PromptTokenizer, sections: Sections, room: int, style: str) -> list[Chunk]:
    """All words in as many chunks as it takes, at least one; each section begins a new one.

    room: tokens of a chunk beside start and end, 75 for CLIP. style: "comfyui" keeps short pieces whole, "compel" goes
    back to a full stop, the others to a comma. Raises InputError for more than 64 chunks.
    """
    filling = _Filling(tokenizer, room)
    rule = {"comfyui": filling.whole_pieces, "compel": filling.to_stop}.get(style, filling.to_comma)
    number = 0
    for section in sections:
        filling.begin()
        for piece in section:
            rule(piece, number)
            number += 1
    chunks = filling.chunks
    if len(chunks) > 1 and not chunks[-1]:
        chunks.pop()  # nothing stands after the last BREAK
    return chunks


def one_chunk(tokenizer: PromptTokenizer, section: Sequence[Piece], room: int) -> tuple[Chunk, str]:
    """The words that fit into one chunk, and the text of those that do not."""
    chunk, cut = Chunk(), ""
    for number, piece in enumerate(section):
        left = room - len(chunk)
        ids = [] if cut else ids_of(tokenizer, piece)
        chunk.add(ids[:left], piece.weight, number)
        if cut:
            cut += piece.text
        elif len(ids) > left:
            cut = tokenizer(piece.text, left + 2).cut[0]
    return chunk, cut.rstrip()


class _Filling:
    """Chunks as they fill up."""

    def __init__(self, tokenizer: PromptTokenizer, room: int) -> None:
        self.chunks: list[Chunk] = []
        self.room = room
        self._tokenizer = tokenizer
        self._comma, self._stop, self._marks = (self._tokens(letters) for letters in (",", ".", ".,;:"))

    def begin(self) -> None:
        """A new chunk."""
        self.chunks.append(Chunk())
        if len(self.chunks) > MOST:
            raise InputError(
                f"the prompt has more than {MOST} chunks of {self.room} tokens, which is more than any model heeds. "
                "Shorten it."
            )

    def to_comma(self, piece: Piece, number: int) -> None:
        """A1111: when a chunk is full and a comma is near its end, what follows the comma goes on to the next."""
        for token in self._tokenizer.encode(piece.text):
            if len(self.chunks[-1]) == self.room:
                near = None if token in self._comma else _last(self.chunks[-1].ids, self._comma, BACKTRACK)
                self._split(self.room if near is None else near + 1)
            self.chunks[-1].add((token,), piece.weight, number)

    def whole_pieces(self, piece: Piece, number: int) -> None:
        """ComfyUI: a piece that does not fit goes on to the next chunk as a whole, unless it is long."""
        ids = ids_of(self._tokenizer, piece)
        whole = len(ids) < min(SHORT, self.room)
        while len(self.chunks[-1]) + len(ids) > self.room:
            left = 0 if whole else self.room - len(self.chunks[-1])
            self.chunks[-1].add(ids[:left], piece.weight, number)
            ids = ids[left:]
            self.begin()
        self.chunks[-1].add(ids, piece.weight, number)

    def to_stop(self, piece: Piece, number: int) -> None:
        """compel: a full chunk goes back to its last full stop, or failing that to any mark, and the rest goes on."""
        self.chunks[-1].add(self._tokenizer.encode(piece.text), piece.weight, number)
        while len(self.chunks[-1]) > self.room:
            first = self.chunks[-1].ids[: self.room]
            places = (_last(first, tokens, self.room) for tokens in (self._stop, self._marks))
            self._split(next((place + 1 for place in places if place is not None), self.room))

    def _split(self, place: int) -> None:
        before, after = self.chunks[-1].split(place)
        self.chunks[-1] = before
        self.begin()
        self.chunks[-1] = after

    def _tokens(self, letters: str) -> frozenset[int]:
        found = [self._tokenizer.encode(letter) for letter in letters]
        return frozenset(ids[0] for ids in found if len(ids) == 1)


def _last(ids: Sequence[int], tokens: Collection[int], near: int) -> int | None:
    """The place of the last such token, if it is among the last `near`."""
    places = (place for place in range(len(ids) - 1, max(len(ids) - near, 0) - 1, -1) if ids[place] in tokens)
    return next(places, None)
