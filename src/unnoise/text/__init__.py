"""Prompt -> tokens -> embedding.

A `Tokenizer` turns text into numbers, a `networks.text_encoder.TextEncoder` turns numbers into vectors, and
`embed` does both. Torch is imported when the first batch is made, not before.
"""

from unnoise.text.byte_pairs import BytePairs
from unnoise.text.compact import CompactTokenizer, tokenizer_from_config
from unnoise.text.embed import Embedding, embed
from unnoise.text.taught import TaughtTokenizer
from unnoise.text.tokenizer import PromptTokenizer, Tokenizer, Tokens

__all__ = [
    "BytePairs",
    "CompactTokenizer",
    "Embedding",
    "PromptTokenizer",
    "TaughtTokenizer",
    "Tokenizer",
    "Tokens",
    "embed",
    "tokenizer_from_config",
]
