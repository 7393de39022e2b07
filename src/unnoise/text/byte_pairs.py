"""Byte pairs: the table that a tokenizer's ids come from, and the machine that applies it.

A text's bytes are written as 256 visible symbols, each word's last one marked `</w>`; then pairs of
neighbours are merged in the order of the table (Sennrich et al. 2016; over bytes, Radford et al. 2019; CLIP's
table, Radford et al. 2021).
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from unnoise.errors import FileError
from unnoise.files import read_table, write_text

if TYPE_CHECKING:
    import tokenizers

START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"
_HEADER = "#version: 0.2\n"
# English contractions, a word, a single digit, a run of anything else. No branch backtracks: linear time.
_PIECE = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_symbols() -> dict[str, int]:
    """The visible symbol of each byte -> the byte, in the order of the vocabulary.

    Printable Latin-1 characters stand for themselves and come first; the other bytes are U+0100 on.
    """
    printable = [byte for first, last in ("!~", "¡¬", "®ÿ") for byte in range(ord(first), ord(last) + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


@dataclass(frozen=True)
class BytePairs:
    """A byte-pair vocabulary. Immutable, so one instance serves every thread.

    symbols: the text of each token, its place being its id.
    merges: pairs of symbols, the first merged first.
    """

    symbols: tuple[str, ...] = field(repr=False)
    merges: tuple[tuple[str, str], ...] = field(repr=False)

    @staticmethod
    @functools.cache
    def clip() -> BytePairs:
        """CLIP's vocabulary of 49,408 tokens, which ships with the package (about 0.1 s, once a process)."""
        packed = resources.files("unnoise.text") / "vocabulary" / "clip-merges.txt.gz"
        merges = _parse_merges(gzip.decompress(packed.read_bytes()).decode())
        letters = tuple(byte_symbols())
        lasts = (letter + WORD_END for letter in letters)
        return BytePairs((*letters, *lasts, *(a + b for a, b in merges), START, END), merges)

    @classmethod
    def from_folder(cls, folder: str | Path) -> BytePairs:
        """Read `vocab.json` and `merges.txt`, or, where a folder has only that, `tokenizer.json`.

        Raises FileError when they are missing, damaged, or not of CLIP's kind.
        """
        folder = Path(folder)
        numbers: object
        if (folder / "vocab.json").exists() or not (folder / "tokenizer.json").exists():
            merges, numbers = _parse_merges(_read(folder / "merges.txt")), read_table(folder / "vocab.json")
        else:
            found = read_table(folder / "tokenizer.json").get("model")
            model = found if isinstance(found, dict) else {}
            numbers, merges = model.get("vocab"), _pairs(model.get("merges"))
        return cls(_in_order(numbers, folder), merges)._checked(folder)

    def __reduce__(self) -> tuple[Callable[..., BytePairs], tuple[object, ...]]:
        # Workers and copies get the shipped table by its name, any other without its compiled machine.
        if self is BytePairs.clip():
            return BytePairs.clip, ()
        return BytePairs, (self.symbols, self.merges)

    def save(self, folder: Path) -> None:
        """Write `vocab.json` and `merges.txt` into `folder`."""
        write_text(folder / "vocab.json", json.dumps(self.numbers, ensure_ascii=False))
        write_text(folder / "merges.txt", _HEADER + "".join(f"{a} {b}\n" for a, b in self.merges))

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Symbol -> id."""
        return {symbol: number for number, symbol in enumerate(self.symbols)}

    @functools.cached_property
    def machine(self) -> tokenizers.Tokenizer:
        """The compiled tokenizer: NFC, white space collapsed, lower case, split in pieces, merged."""
        from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

        model = models.BPE(self.numbers, list(self.merges), unk_token=END, end_of_word_suffix=WORD_END)
        machine = Tokenizer(model)
        machine.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        machine.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_PIECE), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        machine.add_special_tokens([START, END])
        return machine

    @functools.cached_property
    def _bytes(self) -> dict[str, bytes]:
        return {symbol: bytes([byte]) for symbol, byte in byte_symbols().items()}

    def text(self, ids: list[int]) -> str:
        """The text that these tokens spell, words parted by one space; broken UTF-8 shows as U+FFFD."""
        spelled = b"".join(self._spell(self.symbols[number]) for number in ids)
        return spelled.decode("utf-8", "replace").strip(" ")

    def _spell(self, symbol: str) -> bytes:
        body = symbol.removesuffix(WORD_END)
        # A symbol that another tool added may hold characters outside the byte alphabet; they stay.
        spelled = b"".join(self._bytes.get(letter) or letter.encode() for letter in body)
        return spelled + b" " if body != symbol else spelled

    def _checked(self, folder: Path) -> BytePairs:
        missing = [symbol for symbol in (START, END) if symbol not in self.numbers]
        if missing:
            raise FileError(
                f"the vocabulary in '{folder}' has no {missing[0]}, so it is not CLIP's kind. "
                "Give the folder 'tokenizer' of a Stable Diffusion model."
            )
        try:
            self.machine  # noqa: B018 - building it is the check
        except Exception as error:  # the library raises bare Exception
            raise FileError(
                f"the merges in '{folder}' do not fit its vocabulary ({error}). Fetch both files again."
            ) from error
        return self


def _parse_merges(text: str) -> tuple[tuple[str, str], ...]:
    return _pairs([line for line in text.split("\n") if line and not line.startswith("#version")])


def _pairs(rows: object) -> tuple[tuple[str, str], ...]:
    """Rows "a b" or ["a", "b"] as pairs."""
    if not isinstance(rows, list):
        raise FileError(f"the merges must be a list of pairs; got {str(rows)[:60]}. Fetch the file again.")
    pairs = [tuple(row.split(" ")) if isinstance(row, str) else row for row in rows]
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise FileError(f"a merge must be two symbols; got {str(pair)[:60]}. Fetch the file again.")
    return tuple((a, b) for a, b in pairs)


def _in_order(numbers: object, folder: Path) -> tuple[str, ...]:
    """Symbols by id; the ids must be 0, 1, 2, ... without a gap."""
    ids = [each for each in numbers.values() if type(each) is int] if isinstance(numbers, dict) else []
    if not isinstance(numbers, dict) or sorted(ids) != list(range(len(numbers))):
        raise FileError(
            f"the vocabulary in '{folder}' must number its symbols 0, 1, 2, ... without a gap. "
            "Fetch it again."
        )
    return tuple(sorted(numbers, key=numbers.__getitem__))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise FileError(
            f"cannot read '{path}': {reason}. A tokenizer needs vocab.json and merges.txt."
        ) from error
