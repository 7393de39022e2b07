"""Tensors of our own folders: written with their hash, read once and compared with it, all accounted for and finite."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from unnoise.checkpoints.header import Header, some, unlike
from unnoise.checkpoints.manifest import WEIGHTS
from unnoise.errors import CheckpointError
from unnoise.files import building_folder

_FLOATS = ("F64", "F32", "F16", "BF16")
_WHOLE = ("I8",)


def write_folder(
    folder: Path, tensors: Mapping[str, Tensor], description: str, describe: Callable[[str], str]
) -> Path:
    """Write the tensors and the file `description`, whole or not at all; its text is told of the tensors' sha256."""
    weights = to_safetensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    text = describe(hashlib.sha256(weights).hexdigest())
    with building_folder(folder) as temporary:
        (temporary / WEIGHTS).write_bytes(weights)
        (temporary / description).write_text(text, encoding="utf-8")
    return folder


def check_header(path: Path, header: Header, wanted: Mapping[str, Tensor], description: str) -> None:
    """Raises CheckpointError unless the file holds exactly the wanted names and shapes, as `description` says."""
    fault = unlike(wanted, header.tensors)
    if fault:
        raise CheckpointError(f"'{path}' does not fit its {description}: it {fault}.")
    for name, info in header.tensors.items():
        shape = tuple(wanted[name].shape)
        allowed = _FLOATS if wanted[name].is_floating_point() else _WHOLE
        if info.shape != shape or info.dtype not in allowed:
            raise CheckpointError(
                f"'{path}': tensor {name!r} is {info.dtype} of shape {list(info.shape)}; its {description} "
                f"describes one of shape {list(shape)} in {', '.join(allowed)}."
            )


def read_tensors(path: Path, sha256: str, description: str) -> dict[str, Tensor]:
    """The tensors of a file whose hash is `sha256`; hashed and parsed from one reading of it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise CheckpointError(
            f"'{path}' has sha256 {found[:10]}..., its {description} says {sha256[:10]}...: it was altered or "
            "damaged. Fetch the model again."
        )
    tensors: dict[str, Tensor] = parse_safetensors(data)
    check_finite(tensors, f"'{path}'")
    return tensors


def stored(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The tensor as a file keeps it: numbers with a point in `dtype`, others as they are."""
    return tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Raises CheckpointError, naming the tensors, where a number is not finite."""
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise CheckpointError(f"{what} holds numbers that are not finite, in {some(bad)}; it cannot be used.")
