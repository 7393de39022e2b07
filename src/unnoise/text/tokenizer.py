"""Prompt -> tokens: CLIP's tokenizer, and what every tokenizer of this package answers."""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from unnoise.errors import InputError
from unnoise.files import read_table, write_text
from unnoise.limits import is_whole, shown
from unnoise.text.byte_pairs import END, START, BytePairs

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_PROMPT = 100_000


@dataclass(frozen=True, eq=False)
class Tokens:
    """A batch of prompts as numbers.

    ids: (batch, length) int64: start, text, end, padding.
    mask: (batch, length) bool, true from start to end, false on padding.
    cut: for each prompt the text that did not fit, "" where all did.
    unknown: for each prompt the pieces of text that the vocabulary lacks (always empty for CLIP's own).
    """

    ids: Tensor
    mask: Tensor
    cut: tuple[str, ...]
    unknown: tuple[tuple[str, ...], ...]


class PromptTokenizer(Protocol):
    """A tokenizer: where in a text each of its ids begins, from which all make a batch alike."""

    @property
    def size(self) -> int:
        """Number of ids: the rows that an embedding table needs."""

    @property
    def start(self) -> int:
        """The id that opens every prompt."""

    @property
    def end(self) -> int:
        """The id that ends every prompt, where CLIP's encoder pools."""

    @property
    def padding(self) -> int:
        """The id that fills a batch up."""

    @abc.abstractmethod
    def pieces(self, prompt: str) -> tuple[list[int], list[int]]:
        """The ids of the text alone, and for each the place in `whole_text(prompt)` where its text begins."""

    def missing(self, text: str, ids: list[int]) -> tuple[str, ...]:
        """The pieces of a text that the vocabulary lacks, each once. ids: what it was read as."""
        return ()

    def encode(self, prompt: str) -> list[int]:
        """The ids of the text alone: no start, no end, no padding, nothing cut.

        Raises InputError for anything but text of at most 100,000 characters.
        """
        return self.pieces(prompt)[0]

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids spell."""

    def __call__(self, prompts: str | Sequence[str], length: int | None = 77) -> Tokens:
        """Prompts as one batch: start, text, end, padding.

        length: columns of the batch, 2 or more; None: as many as the longest prompt needs. Text that does not
        fit is left out at the end and told in `Tokens.cut`; what the vocabulary lacks, in `Tokens.unknown`.
        Raises InputError for a bad length or a bad prompt, naming the prompt.
        """
        texts = prompt_list(prompts)
        found = [self.pieces(text) for text in texts]
        ids, mask = rows_to_batch(self, [row for row, _ in found], length)
        room = ids.shape[1] - 2
        cut, unknown = [], []
        for text, (row, begins) in zip(texts, found, strict=True):
            cut.append(text[begins[room] :].rstrip(" \t\r\n") if len(begins) > room else "")
            unknown.append(self.missing(text, row))
        return Tokens(ids, mask, tuple(cut), tuple(unknown))

    def config(self) -> dict[str, Any]:
        """Plain values from which `tokenizer_from_config` makes an equal tokenizer."""


@dataclass(frozen=True)
class Tokenizer(PromptTokenizer):
    """CLIP's byte-pair tokenizer (Radford et al. 2021), whose vocabulary ships with the package.

    `Tokenizer()` gives the ids that Stable Diffusion 1, 2 and XL were trained on. Text is brought to Unicode
    form NFC, runs of white space become one space, and letters become lower case. Two steps of the original are
    left out: it first repairs text with `ftfy` (wrong encodings, curly quotes, ligatures, control characters)
    and undoes HTML escapes (`&amp;`), so a prompt that holds such gives other ids there; so does a Greek word's
    last sigma. All else is equal, and the ids are those of transformers' `CLIPTokenizer`. A text with
    `<|startoftext|>` or `<|endoftext|>` in it names those tokens, as in the original. Lone surrogates become
    U+FFFD. Time is linear in the length of the text.

    vocabulary: the byte pairs; CLIP's by default.
    padding: the id that fills a batch up; -1 stands for the end token (SD 1); 0 for SD 2 and open_clip.
    """

    vocabulary: BytePairs = field(default_factory=BytePairs.clip)
    padding: int = -1

    def __post_init__(self) -> None:
        if self.padding == -1:
            object.__setattr__(self, "padding", self.end)
        check_ids([self.padding], self.size, "padding")

    @property
    def size(self) -> int:
        """Number of ids: 49,408 for CLIP."""
        return len(self.vocabulary.symbols)

    @property
    def start(self) -> int:
        """The id that opens every prompt: 49,406 for CLIP."""
        return self.vocabulary.numbers[START]

    @property
    def end(self) -> int:
        """The id that ends every prompt: 49,407 for CLIP."""
        return self.vocabulary.numbers[END]

    def clean(self, text: str) -> str:
        """The text as the vocabulary sees it: NFC, lower case, single spaces."""
        normalizer: Any = self.vocabulary.machine.normalizer
        return str(normalizer.normalize_str(whole_text(text))).strip(" ")

    def pieces(self, prompt: str) -> tuple[list[int], list[int]]:
        """As `PromptTokenizer.pieces`."""
        encoding = self.vocabulary.machine.encode(whole_text(prompt), add_special_tokens=False)
        return encoding.ids, [begin for begin, _ in encoding.offsets]

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids spell, words parted by one space; start and end tokens are left out.

        Raises InputError for an id outside the vocabulary.
        """
        check_ids(ids, self.size, "id")
        return self.vocabulary.text([number for number in ids if number not in (self.start, self.end)])

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `vocab.json`, `merges.txt` and `tokenizer_config.json`: what Stable Diffusion folders hold.

        Raises FileError when the folder cannot be written.
        """
        folder = Path(folder)
        self.vocabulary.save(folder)
        settings = {
            "tokenizer_class": "CLIPTokenizer",
            "bos_token": START,
            "eos_token": END,
            "unk_token": END,
            "pad_token": self.vocabulary.symbols[self.padding],
            "model_max_length": 77,
        }
        write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")

    @classmethod
    def from_folder(cls, folder: str | Path) -> Tokenizer:
        """Read what `save_pretrained` wrote, or the `tokenizer` folder of a Stable Diffusion model.

        Raises FileError when files are missing or damaged.
        """
        vocabulary = BytePairs.from_folder(folder)
        if vocabulary == BytePairs.clip():
            vocabulary = BytePairs.clip()
        return cls(vocabulary, _padding_in(Path(folder), vocabulary))

    def config(self) -> dict[str, Any]:
        """`{"kind": "clip", "padding": id}`, for `tokenizer_from_config`.

        Raises InputError for a vocabulary other than the one that ships with the package.
        """
        if self.vocabulary != BytePairs.clip():
            raise InputError(
                "this tokenizer's vocabulary is not CLIP's own. Keep it with save_pretrained(folder)."
            )
        return {"kind": "clip", "padding": self.padding}


def whole_text(text: object) -> str:
    """The prompt as valid Unicode: pairs of surrogates joined, lone ones replaced by U+FFFD.

    Raises InputError for something that is not text, or for more than 100,000 characters.
    """
    if not isinstance(text, str):
        raise InputError(
            f"a prompt must be text; got {type(text).__name__}. Give a str, for example 'a red apple'."
        )
    if len(text) > LONGEST_PROMPT:
        raise InputError(
            f"the prompt has {len(text):,} characters; at most {LONGEST_PROMPT:,} are read. Shorten it: "
            "a text encoder sees about the first 300."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def prompt_list(prompts: object) -> list[str]:
    """One prompt or several as a list of valid texts; an error names the prompt it is about."""
    if isinstance(prompts, str):
        return [whole_text(prompts)]
    if not isinstance(prompts, Sequence) or not prompts:
        raise InputError(
            f"prompts is {shown(prompts)}; give one text or a list of at least one, for example ['a seven']."
        )
    texts = []
    for place, prompt in enumerate(prompts):
        try:
            texts.append(whole_text(prompt))
        except InputError as error:
            raise InputError(f"prompt {place} of {len(prompts)}: {error}") from None
    return texts


def rows_to_batch(
    tokenizer: PromptTokenizer, rows: Sequence[list[int]], length: int | None
) -> tuple[Tensor, Tensor]:
    """Rows of text ids, between start and end, as `ids` and `mask`, both (batch, length)."""
    import torch

    if length is not None and not is_whole(length, 2):
        raise InputError(
            f"length is {shown(length)}; give a whole number of at least 2 (start and end), for example 77, "
            "or None for as long as the longest prompt."
        )
    width = max(map(len, rows)) + 2 if length is None else length
    ids = torch.full((len(rows), width), tokenizer.padding, dtype=torch.int64, device="cpu")
    mask = torch.zeros(len(rows), width, dtype=torch.bool, device="cpu")
    for place, row in enumerate(rows):
        whole = [tokenizer.start, *row[: width - 2], tokenizer.end]
        ids[place, : len(whole)] = torch.tensor(whole, device="cpu")
        mask[place, : len(whole)] = True
    return ids, mask


def spelled(items: Iterable[int | str], decode: Callable[[list[int]], str]) -> str:
    """Runs of ids as `decode` spells them and the words between, parted by one space."""
    parts: list[str] = []
    run: list[int] = []
    for item in items:
        if isinstance(item, str):
            parts += [decode(run), item]
            run = []
        else:
            run.append(item)
    return " ".join(part for part in [*parts, decode(run)] if part)


def check_ids(ids: Sequence[int], size: int, name: str) -> None:
    """Raises InputError for one that is no id of a vocabulary of this size."""
    for number in ids:
        if not is_whole(number, 0, size - 1):
            raise InputError(f"{name} is {shown(number)}; the vocabulary has the ids 0 to {size - 1}.")


def _padding_in(folder: Path, vocabulary: BytePairs) -> int:
    """The id of the padding token that a folder's settings name; the end token when they name none."""
    path = folder / "tokenizer_config.json"
    token = read_table(path).get("pad_token") if path.exists() else None
    text = token.get("content") if isinstance(token, dict) else token
    return vocabulary.numbers.get(str(text), vocabulary.numbers[END])
