"""What is random in a training step: a pure function of (seed, purpose, step, position in the batch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise import randomness


@dataclass(frozen=True)
class Draws:
    """Of these positions of one global batch, each with numbers of its own whatever stands beside it.

    step: counted from 0, or whatever else tells such batches apart.
    """

    seed: int
    step: int
    positions: Sequence[int]

    def samples(self, batch: int) -> list[int]:
        """The numbers of these samples in a run whose steps take `batch` of them."""
        return [self.step * batch + position for position in self.positions]

    def uniform(self, purpose: str) -> list[float]:
        """A number from 0 to 1 for each position."""
        return [randomness.uniform(self.seed, purpose, self.step, position) for position in self.positions]

    def normal(self, purpose: str, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers, float32 on the CPU: (positions, *shape)."""
        rows = (randomness.normal(self.seed, purpose, self.step, at, shape=shape) for at in self.positions)
        return torch.stack(list(rows))
