"""What a plan is made of: look at x through the network, move x, draw noise. Only plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import Tensor

from unnoise.process import Estimate, Level

Unknown = Literal["x0", "noise", "flow", "velocity"]
"""The attribute of an estimate that a solver follows."""


@dataclass(frozen=True)
class Look:
    """Ask the network for its estimate of x at `level`."""

    level: Level


@dataclass(frozen=True)
class Move:
    """x <- of_x * anchor + sum_i of_estimates[i] * U_i + sum_j of_draws[j] * z_j + noise * z.

    The anchor is x as the last settled move left it, or with `redo` the place where that move began: so a
    corrector goes the same way again. U_i is the unknown (x0, noise, ...; `unguided`, the x0 without the prompt;
    `unclipped_noise`) of the i-th latest look, z_j the j-th latest draw, z a new one; draws are standard normal.
    noise_large: the other end of a learned variance; the standard deviation is then noise^(1 - f) noise_large^f, f
    from the latest look. settles: whether the anchor becomes the new x. span: the stretch of the Brownian path that z
    belongs to, on the noise rule's clock.
    """

    of_x: float
    of_estimates: tuple[float, ...]
    unknown: Unknown | Literal["unguided", "unclipped_noise"]
    noise: float = 0.0
    noise_large: float | None = None
    settles: bool = True
    redo: bool = False
    of_draws: tuple[float, ...] = ()
    span: tuple[float, float] | None = None

    def apply(
        self, anchor: Tensor, looks: Sequence[Estimate], fresh: Tensor | None, draws: Sequence[Tensor] = ()
    ) -> Tensor:
        """The new x, shaped and typed as `anchor`.

        looks, draws: those so far, latest first. fresh: z, shaped as the anchor; None where `noise` is 0.
        """
        pairs = [
            (f, getattr(look, self.unknown)) for f, look in zip(self.of_estimates, looks, strict=False) if f
        ]
        if pairs and abs(self.of_x - 1.0) < 1e-15:  # a pass over memory less, of six in the default scheduler
            (factor, seen), *pairs = pairs
            # float32 may be said of half precision
            x = torch.add(anchor, seen, alpha=factor).to(anchor.dtype)
        else:
            x = anchor * self.of_x
        for factor, seen in pairs:
            x.add_(seen, alpha=factor)
        for factor, draw in zip(self.of_draws, draws, strict=False):
            x.add_(draw, alpha=factor)
        if fresh is None:
            return x
        if self.noise_large is None or looks[0].variance is None:
            return x.add_(fresh, alpha=self.noise)
        part = (looks[0].variance + 1.0) / 2.0
        return x.addcmul_(self.noise ** (1.0 - part) * self.noise_large**part, fresh)


Moves = tuple[Look | Move, ...]
"""What a step does, in order."""


def difference(again: Sequence[Any], before: Sequence[Any]) -> tuple[Any, ...]:
    """What a step made again adds to where it led before: of each look's factor the new less the old.

    Latest look first; `again` has one more, at the step's end. x and noise are one in both, so that no earlier sample
    has to be kept, and the next prediction can be part of the same move. The numbers may be tensors.
    """
    return tuple(new - old for new, old in zip_longest(again, (0.0, *before), fillvalue=0.0))


def joined(first: Move, second: Move) -> tuple[Move, ...]:
    """The two moves as one, which passes over memory once, where they follow the same unknown; else as they are.

    first: a settled move without noise, made from the same place as `second` is from where it ends.
    """
    if first.unknown != second.unknown:
        return first, second
    factors = zip_longest(first.of_estimates, second.of_estimates, fillvalue=0.0)
    whole = tuple(second.of_x * before + after for before, after in factors)
    return (replace(second, of_x=second.of_x * first.of_x, of_estimates=whole),)


@dataclass(frozen=True)
class PlannedStep:
    """One step of a plan: from `start` to `to` by these moves."""

    start: Level
    to: Level
    moves: Moves
