"""Moving averages of the weights, in float32 whatever the weights are kept in.

average <- average + (1 - decay) (weight - average). In bfloat16 that increment rounds to nothing once decay
passes 0.996; in float32 it does not.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unnoise.errors import InputError


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

    def next_decay(self) -> float:
        """Decay of update n, which `updates` counts from 1: `decay`, with warm-up at most (1 + n) / (10 + n)."""
        return min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay

    @torch.no_grad()
    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Move the averages towards `tensors` by one update."""
        self.updates += 1
        weight = 1.0 - self.next_decay()
        names = [name for name, average in self.average.items() if average.is_floating_point()]
        if names:
            live = [tensors[name].float() for name in names]
            torch._foreach_lerp_([self.average[name] for name in names], live, weight)
        for name in self.average.keys() - names:
            self.average[name].copy_(tensors[name])


class PowerAverage(MovingAverage):
    """An average whose length grows with the run: after n updates the weights of update t count as t^gamma.

    The decay of update n is (1 - 1/n)^(gamma + 1) (Karras et al. 2024, sec. 3.1), so the start is forgotten
    at the first. deviation: standard deviation of that profile as a part of the run, in (0, 0.2887), which
    fixes gamma; 0.05 and 0.10 are the paper's two, from which `profiles.reconstruct` makes any other.
    """

    def __init__(self, tensors: Mapping[str, Tensor], deviation: float) -> None:
        super().__init__(tensors, decay=0.0)
        self.deviation = deviation
        self.power = power_of(deviation)

    def next_decay(self) -> float:
        """(1 - 1/n)^(gamma + 1)."""
        return float((1.0 - 1.0 / self.updates) ** (self.power + 1.0))


def power_of(deviation: float) -> float:
    """Gamma of the profile t^gamma on (0, 1) with this standard deviation (Karras et al. 2024, eq. 4-6).

    The deviation falls from 12^-1/2 at gamma 0 towards 0: the root is found by halving. Raises InputError outside.
    """
    if not 1e-4 <= deviation < 12.0**-0.5:
        raise InputError(
            f"the deviation of an averaging profile is {deviation}; give a number from 0.0001 to 0.288, "
            "for example 0.1."
        )
    low, high = 0.0, 1e5
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if deviation_of(middle) > deviation else (low, middle)
    return 0.5 * (low + high)


def deviation_of(power: float) -> float:
    """Standard deviation of the density (gamma + 1) t^gamma on (0, 1)."""
    return float(((power + 1.0) / ((power + 2.0) ** 2 * (power + 3.0))) ** 0.5)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
