"""Textual inversion (Gal et al. 2023): vectors that a text encoder reads where a new word stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from unnoise.checkpoints.adapters.applied import apply, twin
from unnoise.checkpoints.families import BY_WIDTH, SHORT
from unnoise.checkpoints.hashes import DIGITS, sha256_of
from unnoise.checkpoints.header import PICKLED
from unnoise.checkpoints.model import Model, Tower
from unnoise.checkpoints.weights import open_weights, table_in, tensors_in, unpickled, write_weights
from unnoise.errors import CheckpointError, InputError
from unnoise.files import check_new, expanded, replacing
from unnoise.text import TaughtTokenizer, Tokenizer

_MOST = 77
_TOWERS = ("clip_l", "clip_g")
_NAMELESS = ("*", "emb_params", "")


@dataclass(frozen=True)
class Taught:
    """A word that a model knows from a file. name, sha256: of that file."""

    word: str
    name: str
    sha256: str

    @property
    def told(self) -> str:
        """As recipes keep it."""
        return f"word {self.word}:{self.name}:{self.sha256[:DIGITS]}"


@dataclass(frozen=True, eq=False)
class Word:
    """A word and its vectors, a table (vectors, width) for each text encoder."""

    word: str
    tables: tuple[Tensor, ...]


def read_word(path: str | Path) -> Word:
    """The embedding of a file.

    A1111's (`emb_params`; in a pickle `string_to_param`), XL's (`clip_l`, `clip_g`) or diffusers' are read, a pickle by
    torch's weights-only reader. Raises CheckpointError for anything else.
    """
    place = expanded(path)
    tensors = _tensors(place)
    if set(tensors) == set(_TOWERS):
        return Word(place.stem, tuple(_table(place, tensors[name]) for name in _TOWERS))
    if len(tensors) != 1:
        raise CheckpointError(
            f"'{place}' is no embedding: it has {len(tensors)} tensors where one, or clip_l and clip_g, were expected."
        )
    ((name, tensor),) = tensors.items()
    return Word(place.stem if name in (*_NAMELESS, *_TOWERS) else name, (_table(place, tensor),))


def teach(model: Model, path: str | Path, word: str | None = None) -> Model:
    """The model with one more word in its prompts; the one given stays as it is.

    word: the file's own, or its name, when None; found in a prompt whole and in any case. Raises CheckpointError for
    vectors of another width than the model's text encoders have, InputError for a word that is taken or a model
    without CLIP's tokenizer.
    """
    base, found = model.base or model, read_word(path)
    name = found.word if word is None else word
    towers = base.towers
    widths = [tower.encoder.config.width for tower in towers]
    if [table.shape[1] for table in found.tables] != widths:
        raise CheckpointError(_refusal(Path(path).name, found, widths, base))
    known = with_tables(base, name, found.tables)
    place = expanded(path)
    taught = (*base.taught, Taught(name, place.name, sha256_of(place)))
    return apply(replace(known, taught=taught), model.adapters)


def with_tables(base: Model, word: str, tables: Sequence[Tensor], learn: bool = False) -> Model:
    """A model without adapters that knows one more word, of these vectors, a table for each of its text encoders.

    learn: the tables stay tensors of their own, `nn.Parameter`s that training moves, beside the old table instead of in
    a copy of it. Raises InputError as `teach`.
    """
    first, *more = (
        _taught(tower, word, table, learn) for tower, table in zip(base.towers, tables, strict=True)
    )
    return replace(base, text_encoder=first.encoder, tokenizer=first.tokenizer, more_text=tuple(more))


class TaughtEmbedding(nn.Module):
    """The vectors of a vocabulary, and after them those of a new word.

    old: (vocabulary, width). new: (vectors, width).
    """

    def __init__(self, old: nn.Embedding, new: nn.Parameter) -> None:
        super().__init__()
        self.old, self.new = old, new

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (batch, length) int64. Returns (batch, length, width)."""
        first = self.old.num_embeddings
        taught = self.new[(tokens - first).clamp(min=0)]
        known: Tensor = self.old(tokens.clamp(max=first - 1))
        return torch.where((tokens < first)[..., None], known, taught.to(known))


def _taught(tower: Tower, word: str, table: Tensor, learn: bool) -> Tower:
    if not isinstance(tower.tokenizer, Tokenizer):
        raise InputError(
            "this model has its own small vocabulary; words can be taught to Stable Diffusion's only."
        )
    tokenizer = TaughtTokenizer.with_word(tower.tokenizer, word, len(table))
    encoder = twin(tower.encoder)
    assert isinstance(encoder.token_embedding, nn.Embedding)  # CLIP's tokenizer comes with CLIP's table
    old, size = encoder.token_embedding, encoder.token_embedding.num_embeddings + len(table)
    if learn:
        assert isinstance(table, nn.Parameter)
        encoder.token_embedding = TaughtEmbedding(old, table)  # type: ignore[assignment]
    else:
        encoder.token_embedding = nn.Embedding(size, old.embedding_dim, device="meta")
        joined = torch.cat([old.weight, table.to(old.weight)])
        encoder.token_embedding.weight = nn.Parameter(joined, requires_grad=False)
    encoder.config = replace(encoder.config, vocabulary=size)
    return replace(tower, encoder=encoder, tokenizer=tokenizer)


def write_word(path: str | Path, word: Word) -> Path:
    """Write a word's vectors, whole or not at all, as A1111, ComfyUI, diffusers and `read_word` read them.

    One tensor of the word's own name for one text encoder; `clip_l` and `clip_g` for two, whose word is the file's
    name. Raises FileError for a file that exists.
    """
    target = expanded(path)
    check_new(target, "an embedding")
    names = (word.word,) if len(word.tables) == 1 else _TOWERS
    tensors = {
        name: table.detach().cpu().contiguous() for name, table in zip(names, word.tables, strict=True)
    }
    with replacing(target) as temporary:
        write_weights(tensors, temporary, {"format": "pt"})
    return target


def _refusal(name: str, found: Word, widths: list[int], model: Model) -> str:
    theirs = [table.shape[1] for table in found.tables]
    family = "SDXL" if len(theirs) > 1 else BY_WIDTH.get(theirs[0], "another model")
    ours = SHORT.get(str(model.card.get("family", "")), model.name or "another model")
    return (
        f"embedding '{name}' fits {family} (vectors of width {_and(theirs)}); the loaded model is {ours} "
        f"({_and(widths)}). Use an embedding for {ours} or load {family}."
    )


def _and(numbers: list[int]) -> str:
    return " and ".join(map(str, numbers)) or "no text"


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix.lower() not in PICKLED:
        weights = open_weights([path])
        return {name: weights.take(name).clone() for name in list(weights.infos)[: 2 * _MOST]}
    content = unpickled(path)
    table, name = table_in(content), content.get("name") if isinstance(content, Mapping) else None
    tensors = tensors_in(path, table if isinstance(table, Mapping) else {})
    if list(tensors) == ["*"] and isinstance(name, str):
        return {name: tensors["*"]}
    return tensors


def _table(path: Path, tensor: Tensor) -> Tensor:
    table = tensor.detach()[None] if tensor.ndim == 1 else tensor.detach()
    plain = table.ndim == 2 and table.is_floating_point() and 1 <= len(table) <= _MOST
    if not plain or not bool(torch.isfinite(table.float()).all()):
        raise CheckpointError(
            f"'{path}' holds {list(tensor.shape)} {tensor.dtype}; 1 to {_MOST} finite vectors were expected."
        )
    return table
