"""The header of a safetensors file, read with limits before any library sees the file.

Layout: 8 bytes, the length of the JSON that follows (little-endian); the JSON, which gives each tensor's type,
shape and place; then the numbers. The format itself has no checksum and lets a name stand twice.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from unnoise.errors import CheckpointError

HEADER_LIMIT = 16 * 2**20
TENSOR_LIMIT = 50_000
_AXES = 64  # the most that torch's tensors have; the product of a million sizes takes an hour

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
BYTES |= {"U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1}

_TYPE = re.compile(r"[A-Z]+\d[A-Z0-9_]*")

PICKLED = (".ckpt", ".pt", ".pth", ".bin")
"""How the names of pickles end."""

_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")

# Beginnings of a file -> what it is instead of a model, and a way on.
_IMPOSTORS: dict[tuple[bytes, ...], str] = {
    (b"<!doctype", b"<html", b"<head", b"<?xml"): (
        ": it is a web page, such as a site's page for errors or for signing in; fetch it again, signed in if the site "
        "asks for that"
    ),
    (b"version https://git-lfs",): (
        ": it is a pointer of Git LFS, which stands for the file; fetch the file itself with `git lfs pull`"
    ),
    (b"gguf",): ": it is a GGUF file, which is not read here; give the model as .safetensors",
}


@dataclass(frozen=True)
class TensorInfo:
    """What the header says of one tensor. shape: its sizes; start, stop: its place after the header, in bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def count(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """The tensors of a file by name, its metadata (text by name), and the byte at which the numbers begin."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    begin: int = 0


def read_header(path: Path) -> Header:
    """The header of a safetensors file.

    Raises CheckpointError, naming the file and the fault, for anything else: a pickle, a file cut short, a
    header over 16 MB or of more than 50,000 tensors, a name that stands twice, places that do not fit.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _parse(path, file, size)
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}.") from error


def _parse(path: Path, file: BinaryIO, size: int) -> Header:
    head = file.read(8)
    begins = file.read(1)
    # a header of 0x0280 bytes begins as a pickle does, but its JSON follows
    if begins != b"{" and (head[:4] in _PICKLES or head[:2] in _PICKLES):
        raise CheckpointError(
            f"'{path}' is a pickled file, which can run code as it is read, and its name is not one of a pickle. "
            "Ask for the model as .safetensors."
        )
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length < 2 or 8 + length > size:
        raise CheckpointError(
            f"'{path}' ({size:,} bytes) is not a whole safetensors file{_instead(head + begins + file.read(64))}."
        )
    if length > HEADER_LIMIT:
        raise CheckpointError(
            f"the header of '{path}' has {length:,} bytes; at most {HEADER_LIMIT:,} are read."
        )
    text = begins + file.read(length - 1)
    listed = text.count(b'"data_offsets"')
    if listed > TENSOR_LIMIT:  # before a second is spent on parsing them
        raise CheckpointError(f"'{path}' lists {listed:,} tensors; at most {TENSOR_LIMIT:,} are read.")
    entries = _json(path, text)
    metadata = entries.pop("__metadata__", {})
    tensors = {name: _tensor(path, name, entry) for name, entry in entries.items()}
    _check_places(path, tensors, size - 8 - length)
    if not isinstance(metadata, dict):
        raise CheckpointError(f"'{path}': its metadata is not a table of text; fetch it again.")
    return Header(tensors, {str(name): str(value) for name, value in metadata.items()}, 8 + length)


def _instead(start: bytes) -> str:
    """What a file that begins so is, of what downloads leave under a model's name, and what to do."""
    words = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for signs, told in _IMPOSTORS.items():
        if words.startswith(signs):
            return told
    if start and not any(start):
        return ": it begins with zeros, as space that no download filled; fetch it again"
    return "; fetch it again"


def _json(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise CheckpointError(f"'{path}' holds {twice!r} twice; which is meant cannot be known.")
        return table

    try:
        entries = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise CheckpointError(
            f"'{path}' is not a safetensors file: it does not begin with a header."
        ) from None
    if not isinstance(entries, dict):
        raise CheckpointError(f"'{path}' is not a safetensors file: its header is no table.")
    return entries


def _tensor(path: Path, name: str, entry: object) -> TensorInfo:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(stop)]} if (
            dtype in BYTES
            and len(shape) <= _AXES
            and all(type(length) is int and 0 <= length < 2**48 for length in shape)
            and math.prod(filter(None, shape)) < 2**63  # of none too: torch counts strides
        ):
            info = TensorInfo(dtype, tuple(shape), start, stop)
            if stop - start == info.count * BYTES[dtype]:
                return info
        case {"dtype": str(dtype)} if _TYPE.fullmatch(dtype) and dtype not in BYTES:
            raise CheckpointError(
                f"'{path}': tensor {name!r} is {dtype}, a type that is not read here. Ask for the model in F16 or F32."
            )
    raise CheckpointError(f"'{path}': the entry of tensor {name!r} does not make sense: {str(entry)[:120]}.")


def _check_places(path: Path, tensors: dict[str, TensorInfo], size: int) -> None:
    """The tensors must fill the rest of the file exactly: no holes, no overlaps, nothing beyond."""
    end = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if info.start != end:
            raise CheckpointError(f"'{path}': tensor {name!r} begins at byte {info.start:,}, not at {end:,}.")
        end = info.stop
    if end != size:
        raise CheckpointError(
            f"'{path}' holds {size:,} bytes of numbers where its header tells of {end:,}: it is cut short or "
            "altered. Fetch it again."
        )


def unlike(wanted: Collection[str], found: Collection[str]) -> str:
    """In words, such as "lacks 'a' and has extra 'b'"; "" where the names are the same."""
    apart = {
        "lacks": [name for name in wanted if name not in found],
        "has extra": [name for name in found if name not in wanted],
    }
    return " and ".join(f"{word} {some(names)}" for word, names in apart.items() if names)


def some(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(repr, names[:3])) + more
