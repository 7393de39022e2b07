"""How much memory a run will take, before its first step: a step is played through on tensors without data.

Weights, gradients, moments and averages are counted; what the pictures of a step leave for the gradient is found by
running the objective forward and back on tensors that have a shape and a device but no numbers, and watching which
of them live at once.
"""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from unnoise.checkpoints import Model
from unnoise.networks.memory import listed
from unnoise.text import Embedding
from unnoise.training import times
from unnoise.training.batches import Batch
from unnoise.training.learner import Learner

_WORDS = "a caption of some length in plain words"  # one a sample: all different is the most
# what a first step brings into memory beside its tensors: code, and the kernels' own tables
_FIRST = 30 << 20
_HEAP = 1.2  # what the C library's heap takes for each byte in use: 1.15 to 1.3 measured, more with recomputed blocks


@dataclass(frozen=True)
class Memory:
    """Bytes. weights: with buffers. optimizer: its moments. averages: all of them, float32.

    step: the most that a step needs at once beside these, gradients included. saving: what writing a checkpoint
    needs at once, when gradients are not there.
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

    On the CPU the heap takes more than what is in use, by a part that depends on the order of sizes: a fifth is
    added. Recomputed blocks and accumulation leave more holes. `plan.plan` tries a step instead.
    """
    held, memory = resident(), estimate(learner)
    if learner.device.type != "cpu":
        return memory.weights + memory.averages + memory.ahead
    return held + _FIRST + int(_HEAP * memory.ahead)


def resident(peak: bool = False) -> int:
    """Bytes that this process holds in memory now, or the most it held; 0 where the system does not tell."""
    return listed(Path("/proc/self/status"), "VmHWM" if peak else "VmRSS") or 0


def forget_peak() -> None:
    """Let the most that this process held count from now on, where the system can."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as stream:
        stream.write("5")


def estimate(learner: Learner) -> Memory:
    """The memory that the learner's device needs while it trains."""
    weights, moments = _weights(learner), learner.optimizer.bytes()
    averages = (len(learner.averages) + len(learner.profiles)) * weights
    return Memory(weights + learner.tuning.frozen_bytes(), moments, averages, _step(learner), saving(learner))


def saving(learner: Learner) -> int:
    """Bytes that a checkpoint takes while it is laid out in memory to be written."""
    return max(learner.optimizer.bytes(), 2 * _weights(learner))


def _weights(learner: Learner) -> int:
    return sum(tensor.nbytes for tensor in learner.tuning.learned.state_dict().values())


def _step(learner: Learner) -> int:
    """Peak of the tensors that live while a batch is computed forward and back."""
    schedule, watch = learner.model.schedule, _Watch()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with FakeCopyMode(mode):
        # The schedule's tables stay as they are: levels are host numbers, and are asked for their values.
        objective = copy.deepcopy(learner.objective, {id(schedule): schedule})
    batch = _batch(learner, mode)
    own = learner.parts // learner.world.size
    with watch:
        for _ in range(min(own, 2)):  # from the second part on, the gradients of the first stand beside it
            objective(batch).sum().backward()
    return watch.most


def _batch(learner: Learner, mode: FakeTensorMode) -> Batch:
    size = learner.config.run.batch // learner.parts
    model = learner.model
    with mode:
        empty = torch.zeros(size, *model.shape, dtype=torch.float32, device=learner.device)
        known = model.autoencoder is not None and not learner.tuning.reads
        told = _told(model, size, learner.device) if known else None
        sizes = torch.zeros(size, model.told, dtype=torch.float32, device="cpu") if model.size_ids else None
    fraction = torch.full((size,), 0.5, dtype=torch.float64, device="cpu")
    level = times.levels(learner.config.loss, model.schedule, fraction)
    words = tuple(f"{_WORDS} {place}" for place in range(size))
    return Batch(empty, empty, empty, level, words, fraction, told=told, sizes=sizes)


def _told(model: Model, size: int, device: torch.device) -> Embedding:
    """Zeros in the form of `size` captions of one chunk."""
    encoder, dtype = model.towers[-1].encoder, model.network.dtype
    width, config = model.network.config.text_width, encoder.config
    hidden = torch.zeros(size, config.positions, width, dtype=dtype, device=device)
    pooled = torch.zeros(size, config.projection or config.width, dtype=dtype, device=device)
    return Embedding(hidden, None, pooled, ("",) * size, ((),) * size)


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
            if isinstance(tensor, FakeTensor):
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
