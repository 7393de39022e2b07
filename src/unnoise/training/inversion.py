"""Textual inversion (Gal et al. 2023): a new word of a frozen model, whose vectors alone learn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from unnoise.checkpoints import Model
from unnoise.checkpoints.adapters.word import Word, with_tables, write_word
from unnoise.checkpoints.model import Tower
from unnoise.errors import InputError
from unnoise.text import Tokenizer
from unnoise.training.config import TrainConfig
from unnoise.training.tuning import Tuning
from unnoise.training.tuning_config import WordConfig

# For pictures without captions: what is said around the word changes, so that the word learns what does not.
TEMPLATES = (
    "a photo of {}",
    "a picture of {}",
    "{} in a photograph",
    "a close view of {}",
    "{} seen from nearby",
    "one photo that shows {}",
    "a good picture of {}",
    "an image of {}",
)


class WordTuning(Tuning):
    """tables: the vectors, (vectors, width) for each text encoder."""

    reads = True

    def __init__(self, base: Model, word: str, tables: Sequence[nn.Parameter]) -> None:
        self.base, self.word = base, word
        self.tables = nn.ParameterList(tables)
        self.learned: nn.Module = self.tables
        self.model = with_tables(base, word, list(self.tables), learn=True)
        plain = re.sub(r"[^\w-]+", "-", word).strip("-")  # what every system takes in a file's name
        self.file = f"{plain or 'word'}.safetensors"

    def averaged(self, tensors: Mapping[str, Tensor]) -> Model:
        """The base with the word, of these vectors."""
        return with_tables(self.base, self.word, self._tables(tensors))

    def write(self, path: Path, tensors: Mapping[str, Tensor], config: TrainConfig, pictures: int) -> Path:
        """Write the word as a .safetensors; one that is there already gives way."""
        path.unlink(missing_ok=True)
        return write_word(path, Word(self.word, tuple(self._tables(tensors))))

    def _tables(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        return [tensors[str(place)] for place in range(len(self.tables))]


def begin(config: WordConfig, base: Model) -> WordTuning:
    """The word with the vectors of `config.like`, which are repeated or cut to the number that is asked for.

    Raises InputError for a model that has no CLIP tokenizer.
    """
    tables = [nn.Parameter(_start(tower, config)) for tower in base.towers]
    return WordTuning(base, config.word, tables)


def captions_with(word: str, captions: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Captions that say the word: it goes before those that do not, and pictures without captions get templates."""
    said = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    plain = tuple(template.format(word) for template in TEMPLATES)
    return tuple(
        tuple(text if said.search(text) else f"{word}, {text}" for text in each) or plain for each in captions
    )


def _start(tower: Tower, config: WordConfig) -> Tensor:
    if not isinstance(tower.tokenizer, Tokenizer):
        raise InputError(
            "word.model has its own small vocabulary; words can be taught to Stable Diffusion's only."
        )
    ids = tower.tokenizer.encode(config.like)
    if not ids:
        raise InputError(f"word.like is {config.like!r}, which is no word; give one, for example 'toy'.")
    chosen = torch.tensor([ids[place % len(ids)] for place in range(config.vectors)], device="cpu")
    assert isinstance(tower.encoder.token_embedding, nn.Embedding)
    weight = tower.encoder.token_embedding.weight
    return weight[chosen.to(weight.device)].detach().to(torch.float32, copy=True)
