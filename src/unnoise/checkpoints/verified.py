"""Tensors of our own files: read once, compared with their hash, every one accounted for, all finite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load as parse_safetensors
from torch import Tensor

from unnoise.checkpoints.header import Header, some, unlike
from unnoise.errors import CheckpointError

_FLOATS = ("F64", "F32", "F16", "BF16")
_WHOLE = ("I8",)


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
