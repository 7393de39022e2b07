"""Whole words as tokens: for small models whose words come with vectors of their meaning."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from unnoise.errors import InputError
from unnoise.text.special import SPECIAL, UNKNOWN, OwnVocabulary
from unnoise.text.tokenizer import check_ids, whole_text

_WORD = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f])*")  # letters with accents of their own too
_ENDINGS = (("", ""), ("ies", "y"), ("es", ""), ("s", ""))


@dataclass(frozen=True)
class WordTokenizer(OwnVocabulary):
    """A fixed list of words; ids: 0 padding, 1 unknown, 2 start, 3 end, 4 and on the words in their order.

    Text is brought to Unicode form NFKD without its accents and to lower case; a word is a run of letters and
    digits, all else parts words and is not read. A plural that is not in the list is read as its singular. Words
    outside the list become the one `unknown` id and are told in `Tokens.unknown`.

    known: the words, lower case, each once.
    """

    known: tuple[str, ...] = field(repr=False)

    def __post_init__(self) -> None:
        bad = next(
            (word for word in self.known if _WORD.fullmatch(word) is None or word != _plain(word)), None
        )
        if bad is not None:
            raise InputError(
                f"known holds {bad!r}; give words of lower-case letters and digits, for example 'cat'."
            )
        if len(self._ids) != len(self.known):
            raise InputError("known holds a word twice; give each word once.")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: place + SPECIAL for place, word in enumerate(self.known)}

    @property
    def words(self) -> tuple[str, ...]:
        """The words that the model was given."""
        return self.known

    def clean(self, text: str) -> str:
        """The text as the vocabulary sees it: its words, parted by one space."""
        return " ".join(_WORD.findall(_plain(whole_text(text))))

    def pieces(self, prompt: str) -> tuple[list[int], list[int]]:
        """As `Tokenizer.pieces`, `unknown` for words outside the list."""
        found = list(_WORD.finditer(whole_text(prompt)))
        return [self._id(match.group()) for match in found], [match.start() for match in found]

    def decode(self, ids: Sequence[int]) -> str:
        """The words that ids stand for; unknown ones read `[unknown]`, the other special ones are left out.

        Raises InputError for an id outside the vocabulary.
        """
        check_ids(ids, self.size, "id")
        shown = (number for number in ids if number >= SPECIAL or number == UNKNOWN)
        return " ".join(
            "[unknown]" if number == UNKNOWN else self.known[number - SPECIAL] for number in shown
        )

    def config(self) -> dict[str, Any]:
        """`{"kind": "words", "words": "a b c"}`, for `tokenizer_from_config`."""
        return {"kind": "words", "words": " ".join(self.known)}

    def _id(self, word: str) -> int:
        plain = _plain(word)
        read = (plain.removesuffix(ending) + rest for ending, rest in _ENDINGS if plain.endswith(ending))
        return next((self._ids[each] for each in read if each in self._ids), UNKNOWN)

    def missing(self, text: str, ids: list[int]) -> tuple[str, ...]:
        """The words outside the list, each once."""
        if UNKNOWN not in ids:
            return ()
        words = (match.group() for match in _WORD.finditer(text))
        return tuple(dict.fromkeys(word for word in words if self._id(word) == UNKNOWN))


def _plain(text: str) -> str:
    """Lower case without accents."""
    if text.isascii():  # most words of a list of thousands, read as a model is loaded
        return text.lower()
    parts = unicodedata.normalize("NFKD", text)
    # Lower case last: some letters, such as mathematical ones, have it only once they are decomposed.
    return "".join(part for part in parts if not unicodedata.combining(part)).lower()
