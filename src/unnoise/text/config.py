"""Tokenizers from and to plain values, as model folders keep them."""

from __future__ import annotations

from typing import Any

from unnoise.errors import InputError
from unnoise.text.compact import CompactTokenizer
from unnoise.text.tokenizer import Tokenizer
from unnoise.text.words import WordTokenizer


def tokenizer_from_config(config: dict[str, Any]) -> Tokenizer | CompactTokenizer | WordTokenizer:
    """The tokenizer that `config()` described.

    Raises InputError for an unknown kind or values of the wrong form.
    """
    match config:
        case {"kind": "clip", **rest}:
            return Tokenizer(padding=rest.get("padding", -1))
        case {"kind": "clip_compact", "ids": list(ids)}:
            return CompactTokenizer(Tokenizer(), ids)
        case {"kind": "words", "words": str(words)}:
            return WordTokenizer(tuple(words.split()))
    raise InputError(
        "a tokenizer is described by {'kind': 'clip'}, {'kind': 'clip_compact', 'ids': [...]} or {'kind': 'words', "
        f"'words': '...'}}; got {str(config)[:200]}. Give what config() returned."
    )
