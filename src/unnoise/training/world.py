"""One process or many that train as one: who does which part of a batch, and what they tell each other.

Processes that `torchrun` starts hold equal weights, and each computes its own stretch of every global batch.
Nothing that is drawn depends on how many they are.
"""

from __future__ import annotations

import atexit
import inspect
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from unnoise.errors import InputError, UnnoiseError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """rank: number of this process, from 0; the first writes. size: how many there are. place: rank on its machine."""

    rank: int = 0
    size: int = 1
    place: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def stretch(self, batch: int) -> range:
        """Positions of the global batch that this process computes.

        Raises InputError when the batch cannot be dealt evenly.
        """
        if batch % self.size:
            raise InputError(
                f"run.batch is {batch}, which {self.size} processes cannot share evenly; give a multiple "
                f"of {self.size}."
            )
        width = batch // self.size
        return range(self.rank * width, (self.rank + 1) * width)

    def shared(self, module: nn.Module, device: torch.device, divided: bool = False) -> nn.Module:
        """The module on the device, with its gradients averaged over the processes.

        divided: each process keeps a share of the weights (FSDP2), else all of them (DDP).
        """
        if divided:
            from unnoise.training import shards

            shards.divide(module, device, self.size)
        module.to(device)
        if divided or self.size == 1:
            return module
        ids = [device] if device.type == "cuda" else None
        # What is never trained is equal in all processes already; PyTorch 2.13 has a new word for not sending it.
        new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
        unsent: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
        return DistributedDataParallel(module, device_ids=ids, **unsent)

    def everyones(self, part: Tensor, batch: int) -> Tensor:
        """From each process's stretch (width,) the whole (batch,), the same everywhere."""
        if self.size == 1:
            return part
        whole = part.new_zeros(batch)
        whole[self.stretch(batch).start : self.stretch(batch).stop] = part
        dist.all_reduce(whole)
        return whole

    def any(self, value: bool, device: torch.device) -> bool:
        """Whether it is true in any process."""
        if self.size == 1:
            return value
        told = torch.tensor(float(value), device=device)
        dist.all_reduce(told)
        return bool(told.item())

    def led(self, work: Callable[[], T]) -> T:
        """What the first process's `work` returns, or the error that it raises, in every process."""
        if self.size == 1:
            return work()
        box: list[object] = [None, None]
        if self.leads:
            try:
                box[0] = work()
            # the latter: asked to stop, which others must hear
            except (UnnoiseError, KeyboardInterrupt) as error:
                box[1] = error
        dist.broadcast_object_list(box, src=0)
        if isinstance(box[1], UnnoiseError | KeyboardInterrupt):
            raise box[1]
        return box[0]  # type: ignore[return-value]


def join() -> World:
    """The world that `torchrun` put this process in; a world of one without it."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return World()
    _, place, *_ = map(_number, ("WORLD_SIZE", "LOCAL_RANK", "RANK", "MASTER_PORT"))
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(place % torch.cuda.device_count())
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        # Small words between processes go by gloo, tensors on a GPU by nccl.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(_leave)
    return World(dist.get_rank(), dist.get_world_size(), place)


def _number(name: str) -> int:
    """One of the numbers by which torchrun tells a process its place. Raises InputError."""
    told = os.environ.get(name)
    try:
        return int(told or "")
    except ValueError as error:
        fault = "" if name == "WORLD_SIZE" else f", but {name} is {'not set' if told is None else repr(told)}"
        raise InputError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE'] or 'empty'}{fault}; start the processes with torchrun, or unset "
            "WORLD_SIZE."
        ) from error


def _leave() -> None:
    """End the group, and let gloo's threads, which outlive it, put down the last tensors that they carried.

    One that still holds a tensor when the interpreter ends aborts the process (PyTorch pull request 179291).
    """
    dist.destroy_process_group()
    time.sleep(0.1)
