"""Prompt -> tokens -> embedding.

A `Tokenizer` turns text into numbers, a `networks.text_encoder.TextEncoder` turns numbers into vectors, and
`embed` does both. `Prompt` reads what people write, with weights and schedules, and `embed_phrase` embeds that.
Torch is imported when the first batch is made, not before.
"""

from unnoise.text.byte_pairs import BytePairs
from unnoise.text.compact import CompactTokenizer
from unnoise.text.config import tokenizer_from_config
from unnoise.text.embed import Embedding, embed, embed_phrase
from unnoise.text.prompts import STYLES, LoraTag, Phrase, Piece, Prompt
from unnoise.text.taught import TaughtTokenizer
from unnoise.text.tokenizer import PromptTokenizer, Tokenizer, Tokens
from unnoise.text.words import WordTokenizer

__all__ = [
    "STYLES",
    "BytePairs",
    "CompactTokenizer",
    "Embedding",
    "LoraTag",
    "Phrase",
    "Piece",
    "Prompt",
    "PromptTokenizer",
    "TaughtTokenizer",
    "Tokenizer",
    "Tokens",
    "WordTokenizer",
    "embed",
    "embed_phrase",
    "tokenizer_from_config",
]
