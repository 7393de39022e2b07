"""The moving average of the weights, in float32 whatever the weights are kept in.

average <- average + (1 - decay) (weight - average). In bfloat16 that increment rounds to nothing once decay
passes 0.996; in float32 it does not.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def decay_at(update: int, decay: float, warmup: bool) -> float:
    """Decay of the given update, counted from 1: `decay`, or while warming up min(decay, (1 + n) / (10 + n))."""
    return min(decay, (1 + update) / (10 + update)) if warmup else decay


class MovingAverage:
    """Averages of a mapping of named tensors; tensors that are not floating point are copied as they are.

    tensors: the live weights and buffers by name, such as a module's `state_dict()`; the average starts
    equal to them. `average` holds the result, float32, under the same names.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float, warmup: bool = False) -> None:
        self.decay = decay
        self.warmup = warmup
        self.updates = 0
        self.average = {name: _wide(tensor) for name, tensor in tensors.items()}

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Move the averages towards `tensors` by one update."""
        self.updates += 1
        weight = 1.0 - decay_at(self.updates, self.decay, self.warmup)
        names = [name for name, average in self.average.items() if average.is_floating_point()]
        if names:
            live = [tensors[name].float() for name in names]
            torch._foreach_lerp_([self.average[name] for name in names], live, weight)
        for name in self.average.keys() - names:
            self.average[name].copy_(tensors[name])

    @torch.no_grad()
    def restore(self, average: Mapping[str, Tensor], updates: int) -> None:
        """Take up averages that were saved after `updates` updates."""
        for name, tensor in self.average.items():
            tensor.copy_(average[name])
        self.updates = updates


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
