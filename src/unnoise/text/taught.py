"""CLIP's tokenizer with words of one's own, each of which is one new token or several in a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from unnoise.errors import InputError
from unnoise.text.prompts import Piece
from unnoise.text.tokenizer import PromptTokenizer, Tokenizer, check_ids, spelled, whole_text

_ENDING = re.compile(r"\.(safetensors|pt|bin)$")


@dataclass(frozen=True)
class TaughtTokenizer(Tokenizer):
    """words: each with its number of tokens; their ids follow those of the vocabulary, in this order.

    A word is found where it stands whole, in any case, the longest first; what stands between words is read as by
    `Tokenizer`.
    """

    words: tuple[tuple[str, int], ...] = ()

    @classmethod
    def with_word(cls, tokenizer: Tokenizer, word: str, tokens: int) -> TaughtTokenizer:
        """The tokenizer with one more word. Raises InputError for one that it has, or one without a letter or digit."""
        before = tokenizer.words if isinstance(tokenizer, TaughtTokenizer) else ()
        if not re.search(r"\w", word):
            raise InputError(f"the word is {word!r}; give one with a letter or a digit, such as '<cat-toy>'.")
        if word.lower() in (known.lower() for known, _ in before):
            raise InputError(f"the word {word!r} is taken; give another with word=...")
        return cls(tokenizer.vocabulary, tokenizer.padding, (*before, (word, tokens)))

    @property
    def size(self) -> int:
        """Number of ids, the words' included."""
        return len(self.vocabulary.symbols) + sum(tokens for _, tokens in self.words)

    @cached_property
    def _ids(self) -> dict[str, list[int]]:
        first, found = len(self.vocabulary.symbols), {}
        for word, tokens in self.words:
            found[word.lower()] = list(range(first, first + tokens))
            first += tokens
        return found

    def named(self, name: str) -> list[int]:
        """The ids of a word, by itself or as the name of a file in a folder; none where it is not known."""
        file = name.replace("\\", "/").rpartition("/")[2]
        spelt = (name, file, _ENDING.sub("", file))
        return next((self._ids[word] for word in map(str.lower, spelt) if word in self._ids), [])

    @cached_property
    def _longest_first(self) -> list[str]:
        return sorted((word for word, _ in self.words), key=len, reverse=True)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """A group for each word: letters such as the long s match others without being their lower case."""
        each = "|".join(f"({re.escape(word)})" for word in self._longest_first)
        return re.compile(rf"(?<!\w)(?:{each})(?!\w)", re.IGNORECASE)

    def pieces(self, prompt: str) -> tuple[list[int], list[int]]:
        """As `Tokenizer.pieces`; every token of a word begins where the word does."""
        text, done = whole_text(prompt), 0
        ids: list[int] = []
        begins: list[int] = []
        for match in self._pattern.finditer(text):
            self._plain(text, done, match.start(), ids, begins)
            assert match.lastindex is not None
            word = self._ids[self._longest_first[match.lastindex - 1].lower()]
            ids += word
            begins += [match.start()] * len(word)
            done = match.end()
        self._plain(text, done, len(text), ids, begins)
        return ids, begins

    def _plain(self, text: str, start: int, stop: int, ids: list[int], begins: list[int]) -> None:
        found, places = super().pieces(text[start:stop])
        ids += found
        begins += [start + place for place in places]

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids spell, each word once for its row of tokens.

        Raises InputError for an id outside the vocabulary.
        """
        check_ids(ids, self.size, "id")
        spelt = {row[0]: word for (word, _), row in zip(self.words, self._ids.values(), strict=True)}
        first = len(self.vocabulary.symbols)
        shown = (number for number in map(int, ids) if number < first or number in spelt)
        return spelled((spelt.get(number, number) for number in shown), super().decode)

    def config(self) -> dict[str, Any]:
        """Refused: the words' vectors are in another file than the vocabulary. Raises InputError."""
        raise InputError(
            "a tokenizer with words of a textual inversion cannot be written; save the model without them."
        )


def ids_of(tokenizer: PromptTokenizer, piece: Piece) -> list[int]:
    """The ids of a piece of a prompt; of a named one that was not taught, none."""
    if not piece.named:
        return tokenizer.encode(piece.text)
    return tokenizer.named(piece.text) if isinstance(tokenizer, TaughtTokenizer) else []
