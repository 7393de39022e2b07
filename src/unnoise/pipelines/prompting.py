"""Prompts -> embeddings: each phrase alone and once, whatever else is in its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.text import Embedding, Phrase, Prompt, embed, embed_phrase
from unnoise.text.prompts.pieces import short

Said = tuple[Phrase, ...]
"""What one prompt says at one step: a phrase, or as many as AND joins."""


class Embedder:
    """Embeds each different phrase once, and alone, so that an embedding never depends on others of the batch."""

    def __init__(self, model: Model, style: str = "a1111") -> None:
        self._model, self._style = model, style
        self._known: dict[Phrase, Embedding] = {}

    def __call__(self, phrase: Phrase) -> Embedding:
        """One phrase through every tower: hidden states side by side, the last tower's pooled vector."""
        phrase = Phrase(phrase.sections)
        if phrase not in self._known:
            each = [
                embed_phrase(tower.encoder, tower.tokenizer, phrase, self._style, tower.skip)
                for tower in self._model.towers
            ]
            length = max(one.hidden.shape[1] for one in each)
            hidden = [_longer(one.hidden, length) for one in each]
            self._known[phrase] = replace(each[-1], hidden=torch.cat(hidden, dim=-1))
        return self._known[phrase]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the phrases embedded so far, each sentence once."""
        return tuple(dict.fromkeys(note for row in self._known.values() for note in row.notes))


def phrases_of(prompt: str | Said) -> Said:
    """A text is meant as it stands."""
    return (Phrase.plain(prompt),) if isinstance(prompt, str) else prompt


def stacked(rows: Sequence[Embedding]) -> Embedding:
    """Embeddings of one prompt each, of various lengths, as a batch.

    Shorter ones are filled up with states that nothing reads: each row means what it means alone.
    """
    length, mask = max(row.hidden.shape[1] for row in rows), None
    if any(row.mask is not None or row.hidden.shape[1] < length for row in rows):
        masks = [
            row.hidden.new_ones(row.hidden.shape[:2], dtype=torch.bool) if row.mask is None else row.mask
            for row in rows
        ]
        mask = torch.cat([_longer(mask, length) for mask in masks])
    return Embedding(
        torch.cat([_longer(row.hidden, length) for row in rows]),
        mask,
        torch.cat([row.pooled for row in rows]),
        tuple(row.cut[0] for row in rows),
        tuple(row.unknown[0] for row in rows),
    )


def embedded(model: Model, captions: Sequence[str]) -> Embedding:
    """Plain captions through the text encoders, each different one once. Differentiable.

    Of a latent model a long one goes on in further chunks, as prompts do; those of a small model go in one batch.
    """
    words = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
    if model.autoencoder is None:
        (tower,) = model.towers
        found = embed(tower.encoder, tower.tokenizer, list(words), skip=tower.skip)
    else:
        embedder = Embedder(model)
        found = stacked([embedder(Phrase.plain(caption)) for caption in words])
    return found.rows([words[caption] for caption in captions])


def check_loras(prompts: Sequence[Prompt], model: Model) -> None:
    """Raises InputError for a prompt that asks for a LoRA which the model does not have."""
    known = {Path(one.adapter.name).stem for one in model.adapters}
    for tag in (tag for prompt in prompts for tag in prompt.loras):
        if tag.name not in known:
            raise InputError(
                f"the prompt asks for the LoRA '{short(tag.name)}' ('{short(tag.shown)}'), which is not loaded. Load "
                "it with pipe.with_lora(file, weight), on the command line with --lora FILE:WEIGHT, or remove the tag."
            )


def _longer(x: Tensor, length: int) -> Tensor:
    """A row (1, tokens, ...) filled up with zeros to `length` tokens."""
    if x.shape[1] == length:
        return x
    return torch.cat([x, x.new_zeros(x.shape[0], length - x.shape[1], *x.shape[2:])], dim=1)
