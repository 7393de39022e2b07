"""How much memory a run will take, before its first step: a step is played through on shapes alone.

Weights, gradients, moments and averages are counted; what the pictures of a step leave for the gradient is found
by running the objective forward and back on tensors without data, and watching which of them live at once.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unnoise.networks import UNet
from unnoise.networks.text_encoder import TextEncoder
from unnoise.training import times
from unnoise.training.batches import Batch
from unnoise.training.config import TrainConfig
from unnoise.training.learner import Learner
from unnoise.training.objective import Objective
from unnoise.training.recompute import forget_inside

_WORDS = "a caption of some length in plain words"  # one a sample: all different is the most
_HEAP = 1.2  # what the C library's heap takes for each byte in use: 1.19 to 1.25 measured over four runs


@dataclass(frozen=True)
class Memory:
    """Bytes. weights: with buffers. optimizer: two moments. averages: all of them, float32. gradients: of all weights.

    step: the most that one part of a batch needs at once beside these, gradients included. saving: what writing a
    checkpoint needs at once, when gradients are not there.
    """

    weights: int
    optimizer: int
    averages: int
    step: int
    saving: int

    @property
    def ahead(self) -> int:
        """The most beside what a learner that has not begun holds already: its weights and averages."""
        return self.optimizer + max(self.step, self.saving)


def expected(learner: Learner) -> int:
    """Bytes that this process (on a GPU: its device) will hold at the most, asked before the first step.

    On the CPU, what it holds now is known; measured in float32 it ends within 10 %, with run.recompute or bfloat16
    it may be a fifth low, because the heap is in more pieces then.
    """
    memory = estimate(learner)
    if learner.device.type != "cpu":
        return memory.weights + memory.averages + memory.ahead
    return _resident() + int(_HEAP * memory.ahead)


def _resident() -> int:
    """Bytes that this process holds in memory now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def estimate(learner: Learner) -> Memory:
    """The memory that the learner's device needs while it trains."""
    own = [*learner.modules.state_dict().values()]
    weights = sum(tensor.nbytes for tensor in own)
    moments = 2 * sum(weight.nbytes for weight in learner.parameters)
    averages = (len(learner.averages) + len(learner.profiles)) * weights
    # A checkpoint's bytes are laid out in memory before they are written.
    return Memory(weights, moments, averages, _step(learner), max(moments, 2 * weights))


def _step(learner: Learner) -> int:
    """Peak of the tensors that live while one part of a batch is computed forward and back."""
    watch = _Watch()
    model = learner.model
    with torch.device("meta"):
        network = UNet(model.network.config)
        encoder = None if model.text_encoder is None else TextEncoder(model.text_encoder.config)
    shadow = replace(model, network=network, text_encoder=encoder)
    dtype = learner.objective.dtype
    network.to(dtype)  # autocast knows no tensors without data: what it would cast is cast already
    objective = Objective(learner.config.loss, shadow).to("meta").train()
    if learner.config.run.recompute:
        forget_inside(network)
    batch = _batch(learner.config, learner)
    with watch:
        objective(batch.to(torch.device("meta"))).sum().backward()
    # Autocast keeps its casts of the weights, and gradients are in the weights' own float32.
    casts = 0 if dtype == torch.float32 else sum(weight.nbytes for weight in learner.parameters)
    return watch.most + casts


def _batch(config: TrainConfig, learner: Learner) -> Batch:
    size = config.run.batch // learner.parts
    empty = torch.zeros(size, *learner.model.shape)
    fraction = torch.full((size,), 0.5, dtype=torch.float64)
    level = times.levels(config.loss, learner.model.schedule, fraction)
    return Batch(empty, empty, empty, level, tuple(f"{_WORDS} {place}" for place in range(size)), fraction)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages of tensors that operations give out, until nobody holds them; `most` is the peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        given = func(*args, **(kwargs or {}))
        for tensor in given if isinstance(given, tuple | list) else (given,):
            if isinstance(tensor, Tensor) and tensor.device.type == "meta":
                self._add(tensor.untyped_storage())
        return given

    def _add(self, storage: torch.UntypedStorage) -> None:
        place = storage._cdata
        if place in self._known:
            return
        size = storage.nbytes()
        self._known.add(place)
        self.live += size
        self.most = max(self.most, self.live)
        weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.live -= size
