"""Prompts as people write them: text -> what is said, with which weight, and when. Torch-free.

`Prompt.read` turns a text in one of the STYLES into an immutable value; `Prompt.at` gives the phrases of one step.
"""

from unnoise.text.prompts.pieces import NESTING, Phrase, Piece, Sections
from unnoise.text.prompts.prompt import PARTS, STYLES, Part, Prompt
from unnoise.text.prompts.tags import LoraTag

__all__ = [
    "NESTING",
    "PARTS",
    "STYLES",
    "LoraTag",
    "Part",
    "Phrase",
    "Piece",
    "Prompt",
    "Sections",
]
