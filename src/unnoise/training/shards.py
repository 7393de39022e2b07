"""Weights in parts (FSDP2): each process keeps a share of every weight, moment and average, and writes it itself.

    RUN/checkpoints/step-000100/shards/     safetensors files, one a process, by torch.distributed.checkpoint

What is written by some number of processes is read by any other number, one among them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from unnoise.errors import CheckpointError, FileError
from unnoise.networks.unet.attention import CrossAttention
from unnoise.training.recompute import BLOCKS


def divide(module: nn.Module, device: torch.device, processes: int) -> None:
    """Leave this process its share of each weight; blocks gather theirs for as long as they compute.

    Every process must hold equal weights. Gradients then are averaged over the processes and divided likewise.
    """
    # kernels of convolutions lie channels last, which cannot be cut into rows
    for weight in module.parameters():
        weight.data = weight.data.contiguous()
    mesh = init_device_mesh(device.type, (processes,))
    parts = list(module.modules())
    # Keys and values of a text are asked for before their block is.
    inner = [part.kv for part in parts if isinstance(part, CrossAttention)]
    for part in (*inner, *(part for part in parts if isinstance(part, BLOCKS)), module):
        fully_shard(part, mesh=mesh)


def shares(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What this process has of each, in the same memory; all of a tensor that is not divided."""
    return {name: t.to_local() if isinstance(t, DTensor) else t for name, t in tensors.items()}


def joined(shares: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `shares`, where the tensors were divided as those of the same names are."""
    return {name: _part(share, like[name]) for name, share in shares.items()}


def _part(share: Tensor, like: Tensor) -> Tensor:
    if not isinstance(like, DTensor):
        return share
    mesh, places = like.device_mesh, like.placements
    return DTensor.from_local(share, mesh, places, run_check=False, shape=like.shape, stride=like.stride())


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, in every process; each has to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def fill(tensor: Tensor, values: Tensor) -> None:
    """Put the values of a whole tensor, which every process has, into this one, divided or not."""
    if isinstance(tensor, DTensor):
        mesh, places = tensor.device_mesh, tensor.placements
        values = distribute_tensor(values.to(tensor.device), mesh, places, src_data_rank=None)
    tensor.copy_(values)


def write(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Every process writes what it has of the tensors, synced; each has to call.

    Raises FileError in all of them when one cannot write.
    """
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save(dict(tensors), storage_writer=writer)
    except CheckpointException as error:
        raise FileError(
            f"cannot write '{folder}': {_first(error)}. Free some space, then go on with --resume."
        ) from error


def read(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Fill the tensors, divided or whole, with what some processes wrote; where many train, each has to call.

    Raises CheckpointError when the names or the shapes are not those that were written.
    """
    reader = HuggingFaceStorageReader(str(folder))
    entries = reader.read_metadata().state_dict_metadata
    known = {name: tuple(e.size) for name, e in entries.items() if isinstance(e, TensorStorageMetadata)}
    wanted = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if odd := sorted(name for name in known.keys() | wanted.keys() if known.get(name) != wanted.get(name)):
        raise CheckpointError(
            f"'{folder}' does not fit this run's config.toml: {', '.join(odd[:4])} missing, or of another shape."
        )
    try:
        with warnings.catch_warnings():  # that one process reads alone is meant
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(dict(tensors), storage_reader=reader)
    except CheckpointException as error:
        raise CheckpointError(f"'{folder}' cannot be read: {_first(error)}") from error


def _first(error: CheckpointException) -> str:
    """What the first process says that failed."""
    return str(next(iter(error.failures.values()))[0])
