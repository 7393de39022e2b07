"""Words with vectors of their meaning, from a file: the vocabulary of a model that should know more than its captions.

The file is a .safetensors with one tensor, `vectors`: int8, (words, numbers), and two texts beside it: `words`, parted
by spaces in the order of the rows, and `learned`, how many of the first of them captions use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from unnoise.errors import InputError
from unnoise.files import expanded
from unnoise.networks.text_encoder import WordEmbedding
from unnoise.text import WordTokenizer
from unnoise.text.special import SPECIAL

TOKEN_DROPOUT = 0.15
"""How often training hides a word's learned vector, so that the frozen one is learned to be read."""


@dataclass(frozen=True, eq=False)
class WordVectors:
    """The content of such a file: vectors is int8, (words, numbers)."""

    tokenizer: WordTokenizer
    learned: int
    vectors: Tensor

    @classmethod
    def read(cls, path: str | Path) -> WordVectors:
        """Raises InputError when the file cannot be read or does not hold what it should."""
        path = expanded(path)
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
                vectors = file.get_tensor("vectors")
            found = cls(WordTokenizer(tuple(facts["words"].split())), int(facts["learned"]), vectors)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise InputError(
                f"model.words is '{path}', which does not hold words with vectors: {error}. Give a .safetensors with "
                "the tensor 'vectors' and the texts 'words' and 'learned'."
            ) from error
        found._check(path)
        return found

    def settings(self) -> dict[str, Any]:
        """The fields of a text encoder's configuration that make it one of these words."""
        learned = self.learned + SPECIAL
        return {"vectors": self.vectors.shape[1], "learned": learned, "token_dropout": TOKEN_DROPOUT}

    def check_captions(self, captions: Iterable[str]) -> None:
        """Raises InputError for a caption with a word that the file lacks."""
        for caption in captions:
            unknown = self.tokenizer(caption, None).unknown[0]
            if unknown:
                raise InputError(
                    f"the caption '{caption}' has the word '{unknown[0]}', which model.words lacks; make the file "
                    "from all captions."
                )

    @torch.no_grad()
    def fill(self, embedding: WordEmbedding) -> None:
        """Put the vectors into an encoder built for them."""
        embedding.vectors[SPECIAL:].copy_(self.vectors)

    def _check(self, path: str | Path) -> None:
        words = len(self.tokenizer.known)
        if self.vectors.dtype != torch.int8 or self.vectors.dim() != 2 or len(self.vectors) != words:
            raise InputError(
                f"model.words is '{path}': its vectors are {self.vectors.dtype} of shape {list(self.vectors.shape)}; "
                f"give int8, a row for each of its {words} words."
            )
        if not 0 <= self.learned <= words:
            raise InputError(
                f"model.words is '{path}': learned is {self.learned}; give a number from 0 to {words}."
            )
