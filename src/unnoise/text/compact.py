"""A vocabulary cut down to a training set's words, so that a small model's embedding table is small too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from unnoise.errors import InputError
from unnoise.limits import shown
from unnoise.text.special import SPECIAL, UNKNOWN, OwnVocabulary
from unnoise.text.tokenizer import Tokenizer, check_ids, spelled


@dataclass(frozen=True)
class CompactTokenizer(OwnVocabulary):
    """CLIP's tokenizer restricted to the tokens that a training set's captions use.

    A model of ten words needs no table of 49,408 embeddings. The text is split as CLIP splits it; then each
    known CLIP id becomes its place in `known` plus four, and every other one the one `unknown` id. Ids here:
    0 padding, 1 unknown, 2 start, 3 end, 4 and on the known tokens in the order of their CLIP ids. The pieces
    of a prompt that became unknown are told in `Tokens.unknown`.

    tokenizer: the full tokenizer underneath.
    known: CLIP ids of the tokens kept; kept sorted, without repeats, and without start and end.
    """

    tokenizer: Tokenizer = field(repr=False)
    known: tuple[int, ...]

    def __init__(self, tokenizer: Tokenizer, ids: Iterable[int]) -> None:
        given = list(ids)
        check_ids(given, tokenizer.size, "a token of the vocabulary")
        object.__setattr__(self, "tokenizer", tokenizer)
        object.__setattr__(self, "known", tuple(sorted(set(given) - {tokenizer.start, tokenizer.end})))

    @classmethod
    def from_captions(cls, captions: Iterable[str], tokenizer: Tokenizer | None = None) -> CompactTokenizer:
        """The vocabulary of exactly the tokens that occur in `captions`. Raises InputError for one text alone."""
        if isinstance(captions, str) or not isinstance(captions, Iterable):
            raise InputError(f"captions is {shown(captions)}; give a list of texts, such as ['a red apple'].")
        tokenizer = tokenizer or Tokenizer()
        return cls(tokenizer, {number for caption in set(captions) for number in tokenizer.encode(caption)})

    @cached_property
    def _compact(self) -> dict[int, int]:
        return {number: place + SPECIAL for place, number in enumerate(self.known)}

    @property
    def words(self) -> tuple[str, ...]:
        """The text of every known token: what a person may ask of this model."""
        return tuple(self.tokenizer.decode([number]) for number in self.known)

    def clean(self, text: str) -> str:
        """The text as the vocabulary sees it: NFC, lower case, single spaces."""
        return self.tokenizer.clean(text)

    def pieces(self, prompt: str) -> tuple[list[int], list[int]]:
        """As `Tokenizer.pieces`, `unknown` for tokens outside the vocabulary."""
        ids, begins = self.tokenizer.pieces(prompt)
        return [self._compact.get(number, UNKNOWN) for number in ids], begins

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids spell; unknown tokens read `[unknown]`, the other special ones are left out.

        Raises InputError for an id outside the vocabulary.
        """
        check_ids(ids, self.size, "id")
        shown = (number for number in ids if number >= SPECIAL or number == UNKNOWN)
        items = ("[unknown]" if number == UNKNOWN else self.known[number - SPECIAL] for number in shown)
        return spelled(items, self.tokenizer.decode)

    def missing(self, text: str, ids: list[int]) -> tuple[str, ...]:
        """The pieces outside the vocabulary, each once, neighbours joined as in the text."""
        if UNKNOWN not in ids:
            return ()
        runs = groupby(self.tokenizer.encode(text), self._compact.__contains__)
        return tuple(dict.fromkeys(self.tokenizer.decode(list(run)) for known, run in runs if not known))

    def config(self) -> dict[str, Any]:
        """`{"kind": "clip_compact", "ids": [...]}`, for `tokenizer_from_config`."""
        self.tokenizer.config()  # refuses a vocabulary that does not ship with the package
        return {"kind": "clip_compact", "ids": list(self.known)}
