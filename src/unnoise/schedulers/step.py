"""What a run hands out: a question to the network, and a step that has been made."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from unnoise.process import Estimate, Level


@dataclass(eq=False, slots=True)
class Request:
    """A run asks for the network's view of x at `level`."""

    x: Tensor
    level: Level


@dataclass(eq=False, slots=True)
class Step:
    """One step that has been made.

    index: from 0. start: the level at which the network was asked. estimate, with x0 and noise: what it said.
    level, x: where the sample stands now, after the step. Tensors are (batch, ...).
    """

    index: int
    start: Level
    estimate: Estimate
    level: Level
    x: Tensor

    def __repr__(self) -> str:
        return f"Step({self.index}, x={tuple(self.x.shape)}, level={self.level})"

    @property
    def x0(self) -> Tensor:
        """The clean sample as predicted at the start of the step."""
        return self.estimate.x0

    @property
    def noise(self) -> Tensor:
        """The noise residual as predicted at the start of the step."""
        return self.estimate.noise
