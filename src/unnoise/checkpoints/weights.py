"""Tensors of files, each looked at where it lies: mapped, never read as a whole."""

from __future__ import annotations

import json
import mmap
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from unnoise.checkpoints.header import PICKLED, TensorInfo, read_header
from unnoise.checkpoints.layouts import Shape
from unnoise.errors import CheckpointError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""The types that weights may have; others (counters, flags) are never weights."""

_COUNTERS = {"I64": torch.int64, "I32": torch.int32}
"""Types of single numbers beside weights, such as a LoRA's alpha."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The tensors of one or several files, as if they were one.

    infos: what the headers say, by name. take: the tensor of a name, which stays valid until the next one is
    taken. metadata: text by name.
    """

    infos: dict[str, TensorInfo]
    take: Callable[[str], Tensor]
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of the tensors, by name."""
        return {name: info.shape for name, info in self.infos.items()}


def write_weights(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """A .safetensors file, the same to the byte whenever the same is written.

    safetensors itself puts the metadata in another order each time, so that a file made twice has two hashes.
    """
    save_file(dict(tensors), path, dict(metadata))
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        told = header.pop("__metadata__", {})
        ordered = {"__metadata__": dict(sorted(told.items())), **header}
        text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:
            file.seek(8)
            file.write(text.ljust(length))


def open_weights(paths: Iterable[Path]) -> Weights:
    """The tensors of these files: safetensors, or pickles by their names' ending.

    Raises CheckpointError for a file that is damaged, for a name that stands in two of them, and for a pickle
    that holds more than tensors.
    """
    merged = Weights({}, lambda name: homes[name].take(name))
    homes: dict[str, Weights] = {}
    for path in paths:
        one = _unpickled(path) if path.suffix.lower() in PICKLED else _mapped(path)
        for name, info in one.infos.items():
            if name in homes:
                raise CheckpointError(f"'{path}' holds {name!r}, and so does another file of the model.")
            homes[name], merged.infos[name] = one, info
        merged.metadata.update(one.metadata)
    return merged


def _mapped(path: Path) -> Weights:
    header = read_header(path)
    with path.open("rb") as file:
        # A private mapping: torch asks for memory that it may write; nothing here does, and the file never changes.
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    last: list[TensorInfo] = []
    known = DTYPES | _COUNTERS

    def take(name: str) -> Tensor:
        info = header.tensors[name]
        if info.dtype not in known:
            raise CheckpointError(f"'{path}': tensor {name!r} is {info.dtype}, no type that weights have.")
        if last:
            # Give its pages back: mapped pages count as memory until then.
            _advise(mapping, "MADV_DONTNEED", header.begin, last.pop())
        last.append(info)
        if not info.count:
            return torch.empty(info.shape, dtype=known[info.dtype])
        _advise(mapping, "MADV_WILLNEED", header.begin, info)
        flat = torch.frombuffer(
            mapping, dtype=known[info.dtype], count=info.count, offset=header.begin + info.start
        )
        return flat.view(info.shape)

    return Weights(header.tensors, take, header.metadata)


def _advise(mapping: mmap.mmap, advice: str, begin: int, info: TensorInfo) -> None:
    """Tell the system what will be read next (its disk then reads on its own), or will not be read again."""
    if hasattr(mapping, "madvise") and hasattr(mmap, advice):
        start = (begin + info.start) // mmap.PAGESIZE * mmap.PAGESIZE
        mapping.madvise(getattr(mmap, advice), start, begin + info.stop - start)


def _unpickled(path: Path) -> Weights:
    table = table_in(unpickled(path))
    if not isinstance(table, Mapping):
        raise CheckpointError(f"'{path}' holds no table of tensors; ask for it as .safetensors.")
    tensors = tensors_in(path, table)
    names = {dtype: name for name, dtype in (DTYPES | _COUNTERS).items()}
    infos = {
        name: TensorInfo(names.get(value.dtype, str(value.dtype)), tuple(value.shape), 0, value.nbytes)
        for name, value in tensors.items()
    }
    return Weights(infos, tensors.__getitem__)


def table_in(content: object) -> object:
    """The tensors by name in what a pickle held: of a checkpoint, of A1111's embedding, or one without a name."""
    if isinstance(content, Tensor):
        return {"": content}
    if not isinstance(content, Mapping):
        return content
    return content.get("state_dict", content.get("string_to_param", content))


def unpickled(path: Path) -> object:
    """What a pickle holds, by torch's reader that makes nothing but tensors and plain values.

    Raises CheckpointError for a file that cannot be read, that holds more, or that is damaged.
    """
    try:
        # what torch wrote before its version 1.6 is no archive, of which parts could be mapped
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}.") from error
    except Exception as error:
        fault = "is a pickle that holds more than tensors, or is damaged; nothing in it was run. "
        fault += "Ask for it as .safetensors."
        with suppress(CheckpointError):
            read_header(path)
            fault = "is a safetensors file under another name; let it end in .safetensors."
        raise CheckpointError(f"'{path}' {fault}") from error


def tensors_in(path: Path, table: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of an unpickled table by name; other values are left out.

    Raises CheckpointError for one whose numbers are not all there: a single one can be told to fill any memory.
    """
    tensors = {str(name): value for name, value in table.items() if isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        there = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not there or tensor.untyped_storage().nbytes() < tensor.nbytes:
            raise CheckpointError(
                f"'{path}': tensor {name[:120]!r} does not hold its numbers one by one; ask for it as .safetensors."
            )
    return tensors
