"""Weighed words -> chunks of tokens, each as long as the text encoder takes at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

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


class Token(NamedTuple):
    """One of a prompt. piece: the number of the stretch of words that it is from."""

    id: int
    weight: float
    piece: int


Chunk = list[Token]
"""What stands between one start and one end token."""


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
    chunk: Chunk = []
    cut = ""
    for number, piece in enumerate(section):
        left = room - len(chunk)
        ids = [] if cut else ids_of(tokenizer, piece)
        chunk += _tokens(ids[:left], piece, number)
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
        self._comma, self._stop, self._marks = (self._ids(letters) for letters in (",", ".", ".,;:"))

    def begin(self) -> None:
        """A new chunk."""
        self.chunks.append([])
        if len(self.chunks) > MOST:
            raise InputError(
                f"the prompt has more than {MOST} chunks of {self.room} tokens, which is more than any model heeds. "
                "Shorten it."
            )

    def to_comma(self, piece: Piece, number: int) -> None:
        """A1111: when a chunk is full and a comma is near its end, what follows the comma goes on to the next."""
        for token in _tokens(self._tokenizer.encode(piece.text), piece, number):
            if len(self.chunks[-1]) == self.room:
                near = None if token.id in self._comma else _last(self.chunks[-1], self._comma, BACKTRACK)
                self._split(self.room if near is None else near + 1)
            self.chunks[-1].append(token)

    def whole_pieces(self, piece: Piece, number: int) -> None:
        """ComfyUI: a piece that does not fit goes on to the next chunk as a whole, unless it is long."""
        tokens = _tokens(ids_of(self._tokenizer, piece), piece, number)
        whole = len(tokens) < min(SHORT, self.room)
        while len(self.chunks[-1]) + len(tokens) > self.room:
            left = 0 if whole else self.room - len(self.chunks[-1])
            self.chunks[-1] += tokens[:left]
            tokens = tokens[left:]
            self.begin()
        self.chunks[-1] += tokens

    def to_stop(self, piece: Piece, number: int) -> None:
        """compel: a full chunk goes back to its last full stop, or failing that to any mark, and the rest goes on."""
        self.chunks[-1] += _tokens(self._tokenizer.encode(piece.text), piece, number)
        while len(self.chunks[-1]) > self.room:
            first = self.chunks[-1][: self.room]
            places = (_last(first, ids, self.room) for ids in (self._stop, self._marks))
            self._split(next((place + 1 for place in places if place is not None), self.room))

    def _split(self, place: int) -> None:
        chunk = self.chunks[-1]
        self.chunks[-1] = chunk[:place]
        self.begin()
        self.chunks[-1] = chunk[place:]

    def _ids(self, letters: str) -> frozenset[int]:
        found = [self._tokenizer.encode(letter) for letter in letters]
        return frozenset(ids[0] for ids in found if len(ids) == 1)


def _tokens(ids: Iterable[int], piece: Piece, number: int) -> list[Token]:
    return [Token(each, piece.weight, number) for each in ids]


def _last(chunk: Chunk, ids: Collection[int], near: int) -> int | None:
    """The place of the last such token, if it is among the last `near`."""
    places = range(len(chunk) - 1, max(len(chunk) - near, 0) - 1, -1)
    return next((place for place in places if chunk[place].id in ids), None)
