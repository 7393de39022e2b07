"""The four ids before the tokens of a vocabulary of one's own."""

from __future__ import annotations

from unnoise.text.tokenizer import PromptTokenizer

PADDING, UNKNOWN, START, END = range(4)
SPECIAL = 4
"""How many there are: the first known token has this id."""


class OwnVocabulary(PromptTokenizer):
    """A tokenizer whose ids are the four special ones, then its `known` tokens in their order."""

    known: tuple[int, ...] | tuple[str, ...]

    padding = PADDING
    unknown = UNKNOWN
    start = START
    end = END

    @property
    def size(self) -> int:
        """Number of ids: the known tokens and the four special ones."""
        return len(self.known) + SPECIAL
