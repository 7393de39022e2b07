"""Prompt -> embedding, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unnoise.errors import InputError
from unnoise.limits import choice, shown, typed
from unnoise.text.chunks import Chunk, chunked, one_chunk
from unnoise.text.prompts import STYLES, Phrase, Piece
from unnoise.text.taught import ids_of
from unnoise.text.tokenizer import PromptTokenizer, rows_to_batch
from unnoise.text.weighting import Encoded, weighed

if TYPE_CHECKING:
    from torch import Tensor, device

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

    def rows(self, places: Sequence[int]) -> Embedding:
        """Of these prompts, in this order."""
        chosen = list(places)
        mask = None if self.mask is None else self.mask[chosen]
        cut, unknown = tuple(self.cut[i] for i in chosen), tuple(self.unknown[i] for i in chosen)
        return Embedding(self.hidden[chosen], mask, self.pooled[chosen], cut, unknown)

    def to(self, device: device) -> Embedding:
        """On a device."""
        mask = None if self.mask is None else self.mask.to(device, non_blocking=True)
        hidden, pooled = (rows.to(device, non_blocking=True) for rows in (self.hidden, self.pooled))
        return replace(self, hidden=hidden, mask=mask, pooled=pooled)


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
    _check_pair(encoder, tokenizer)
    tokens = tokenizer(prompts, config.positions if length is None else length)
    device = encoder.position_embedding.device
    mask = None if config.attend_padding else tokens.mask.to(device)
    hidden, pooled = encoder(tokens.ids.to(device), mask, skip)
    return Embedding(hidden, mask, pooled, tokens.cut, tokens.unknown)


def embed_phrase(
    encoder: TextEncoder, tokenizer: PromptTokenizer, phrase: Phrase, style: str = "a1111", skip: int = 0
) -> Embedding:
    """One phrase with its weights and sections, as long as it may be: an Embedding of a batch of one.

    Words that do not fit go on in further chunks, whose hidden states stand one after the other: (1, chunks *
    positions, width). pooled is the first chunk's, without weights. An encoder that was trained with masks
    (`attend_padding` false) takes one chunk for each section; what does not fit is told in `Embedding.notes`.
    style: whose rule turns weights into numbers, and whose parts long prompts; "plain" as "a1111".
    Raises InputError as `embed` does, for a style that is none, and for more than 64 chunks.
    """
    import torch

    choice("prompt_style", style, STYLES)
    _check_pair(encoder, tokenizer)
    config, device = encoder.config, encoder.position_embedding.device
    chunks, cut = _chunks(tokenizer, phrase, config.positions, style, config.attend_padding)

    def batch(rows: list[list[int]]) -> tuple[Tensor, Tensor | None]:
        ids, mask = rows_to_batch(tokenizer, rows, config.positions)
        return ids.to(device), None if config.attend_padding else mask.to(device)

    ids, read = batch([[token.id for token in chunk] for chunk in chunks])
    weights = torch.ones(ids.shape, dtype=torch.float32, device="cpu")
    for row, chunk in zip(weights, chunks, strict=True):
        told = [token.weight for token in chunk]
        row[1 : len(chunk) + 1] = torch.tensor(told, dtype=torch.float32, device="cpu")
    hidden, pooled = encoder(ids, read, skip)
    found = Encoded(
        hidden=hidden,
        weights=weights.to(device),
        read=read,
        ids=ids,
        empty=batch([[]]),
        chunks=chunks,
        encode=lambda rows, seen: encoder(rows, seen, skip).hidden,
    )
    hidden = weighed(style, found)
    said = [piece for section in phrase.sections for piece in section if not piece.text.isspace()]
    unknown = tuple(dict.fromkeys(word for piece in said for word in _unknown(tokenizer, piece)))
    flat = None if read is None else read.flatten()[None]
    return Embedding(hidden.flatten(0, 1)[None], flat, pooled[:1], (cut,), (unknown,))


def _unknown(tokenizer: PromptTokenizer, piece: Piece) -> tuple[str, ...]:
    """What of a piece says nothing to the encoder."""
    if piece.named:
        return () if ids_of(tokenizer, piece) else (f"embedding:{piece.text}",)
    return tokenizer(piece.text, None).unknown[0]


def _chunks(
    tokenizer: PromptTokenizer, phrase: Phrase, positions: int, style: str, more: bool
) -> tuple[list[Chunk], str]:
    """The phrase's chunks, and what does not fit into them."""
    if more:
        return chunked(tokenizer, phrase.sections, positions - 2, style), ""
    found = [one_chunk(tokenizer, section, positions - 2) for section in phrase.sections]
    return [chunk for chunk, _ in found], " ".join(cut for _, cut in found if cut)


def _check_pair(encoder: TextEncoder, tokenizer: PromptTokenizer) -> None:
    from unnoise.networks.text_encoder import TextEncoder

    config = typed("encoder", encoder, TextEncoder).config
    if not hasattr(tokenizer, "end"):
        raise InputError(f"tokenizer is {shown(tokenizer)}; give the model's own, or Tokenizer().")
    if tokenizer.size != config.vocabulary or (config.pooling == "end" and tokenizer.end != config.end_token):
        raise InputError(
            f"the tokenizer has {tokenizer.size} ids and ends prompts with {tokenizer.end}; the text encoder "
            f"has {config.vocabulary} and looks for {config.end_token}. Use the model's own tokenizer."
        )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"
