"""A vocabulary cut down to a training set's words, so that a small model's embedding table is small too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from unnoise.text.special import END, PADDING, SPECIAL, START, UNKNOWN, OwnVocabulary
from unnoise.text.tokenizer import Tokenizer, Tokens, check_ids, left_over, prompt_list, rows_to_batch


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
        """The vocabulary of exactly the tokens that occur in `captions`."""
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

    def encode(self, prompt: str) -> list[int]:
        """The ids of the text alone, `unknown` for tokens outside the vocabulary; see `Tokenizer.encode`."""
        return [self._compact.get(number, UNKNOWN) for number in self.tokenizer.encode(prompt)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids spell; unknown tokens read `[unknown]`, the other special ones are left out.

        Raises InputError for an id outside the vocabulary.
        """
        check_ids(ids, self.size, "id")
        parts: list[str] = []
        run: list[int] = []
        for number in ids:
            if number >= SPECIAL:
                run.append(self.known[number - SPECIAL])
            elif number == UNKNOWN:
                parts += [self.tokenizer.decode(run), "[unknown]"]
                run = []
        return " ".join(part for part in [*parts, self.tokenizer.decode(run)] if part)

    def __call__(self, prompts: str | Sequence[str], length: int | None = 77) -> Tokens:
        """Prompts as one batch, as `Tokenizer.__call__`; `Tokens.unknown` tells what the vocabulary lacks."""
        texts = prompt_list(prompts)
        found = [self.tokenizer.pieces(text) for text in texts]
        rows = [[self._compact.get(number, UNKNOWN) for number in ids] for ids, _ in found]
        cut = tuple(left_over(text, begins, length) for text, (_, begins) in zip(texts, found, strict=True))
        unknown = tuple(self._missing(ids) for ids, _ in found)
        return Tokens(*rows_to_batch(rows, length, START, END, PADDING), cut, unknown)

    def _missing(self, ids: list[int]) -> tuple[str, ...]:
        """The pieces outside the vocabulary, each once, neighbours joined as in the text."""
        runs: list[list[int]] = [[]]
        for number in ids:
            if number not in self._compact:
                runs[-1].append(number)
            elif runs[-1]:
                runs.append([])
        return tuple(dict.fromkeys(self.tokenizer.decode(run) for run in runs if run))

    def config(self) -> dict[str, Any]:
        """`{"kind": "clip_compact", "ids": [...]}`, for `tokenizer_from_config`."""
        self.tokenizer.config()  # refuses a vocabulary that does not ship with the package
        return {"kind": "clip_compact", "ids": list(self.known)}
