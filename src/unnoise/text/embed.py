"""Prompt -> embedding, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unnoise.errors import InputError
from unnoise.text.tokenizer import PromptTokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from unnoise.networks.text_encoder import TextEncoder

_SHOWN = 60


@dataclass(frozen=True, eq=False)
class Embedding:
    """A batch of prompts as a network sees them.

    hidden: (batch, length, width). pooled: (batch, width).
    mask: (batch, length) bool, true on real tokens; None where padding is meant to be seen (CLIP).
    cut: for each prompt the text that did not fit. unknown: for each the pieces that the vocabulary lacks.
    """

    hidden: Tensor
    mask: Tensor | None
    pooled: Tensor
    cut: tuple[str, ...]
    unknown: tuple[tuple[str, ...], ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each thing that a person should know: text cut off, words never learnt."""
        told = []
        for place, (cut, unknown) in enumerate(zip(self.cut, self.unknown, strict=True)):
            which = f"prompt {place}" if len(self.cut) > 1 else "the prompt"
            if cut:
                told.append(f"{which} is too long: its end is not used: '{_short(cut)}'")
            if unknown:
                told.append(f"{which} has words that the model never saw: {_short(', '.join(unknown))}")
        return tuple(told)


def embed(
    encoder: TextEncoder,
    tokenizer: PromptTokenizer,
    prompts: str | Sequence[str],
    length: int | None = None,
    skip: int = 0,
) -> Embedding:
    """Prompts through a tokenizer and an encoder, on the encoder's device and in its dtype.

    length: columns; None means all of the encoder's positions, so that a prompt's embedding never depends on
        its neighbours in the batch. skip: last layers left out, see `TextEncoder.forward`.
    Any text is welcome, the empty one too; what does not fit or is not known is told in `Embedding.notes`.
    Raises InputError for a bad prompt, length or skip, or when tokenizer and encoder do not belong together.
    """
    config = encoder.config
    if tokenizer.size != config.vocabulary or (config.pooling == "end" and tokenizer.end != config.end_token):
        raise InputError(
            f"the tokenizer has {tokenizer.size} ids and ends prompts with {tokenizer.end}; the text encoder "
            f"has {config.vocabulary} and looks for {config.end_token}. Use the model's own tokenizer."
        )
    tokens = tokenizer(prompts, config.positions if length is None else length)
    device = encoder.position_embedding.device
    mask = None if config.attend_padding else tokens.mask.to(device)
    hidden, pooled = encoder(tokens.ids.to(device), mask, skip)
    return Embedding(hidden, mask, pooled, tokens.cut, tokens.unknown)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"
