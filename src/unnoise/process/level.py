"""A noise level: how much signal and how much noise a sample holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import Declared, shown

Scalar = float | Tensor
"""A host number, or a float64 tensor of shape (batch,) with one number a sample."""

Factor = float | Tensor
"""A number, or a tensor shaped to multiply x (batch, ...)."""


def as_tensor(value: Scalar | Sequence[float]) -> Tensor:
    """`value` as a float64 tensor on the CPU, where all bookkeeping of levels is done; InputError for no number."""
    try:
        return torch.as_tensor(value, dtype=torch.float64, device="cpu")
    # RuntimeError: of no numbers, or too many
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(
            f"{shown(value)} is given as a time or a noise level; give a number, or a tensor of numbers."
        ) from error


def line(start: float, end: float, count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """`count` numbers at equal distances, both ends among them, on the CPU."""
    return torch.linspace(start, end, count, dtype=dtype, device="cpu")


def like(value: Tensor, given: Scalar) -> Scalar:
    """`value` as a plain float where the caller gave a plain number."""
    return value if isinstance(given, Tensor) or value.dim() else float(value)


def expand(value: Scalar, x: Tensor) -> Factor:
    """`value` ready to multiply x (batch, ...): a tensor as (batch, 1, ...), of x's type and place."""
    if isinstance(value, Tensor):
        return value.to(device=x.device, dtype=x.dtype).reshape(-1, *[1] * (x.dim() - 1))
    return value


def combine(x: Tensor, of_x: Factor, y: Tensor, of_y: Factor) -> Tensor:
    """of_x * x + of_y * y in as few passes over memory as the kinds of the factors allow."""
    if isinstance(of_x, Tensor) or isinstance(of_y, Tensor):
        return of_x * x + of_y * y
    if x.dtype != y.dtype:
        y = y.to(torch.promote_types(x.dtype, y.dtype))
    if of_x == 0.0:
        return y if of_y == 1.0 else y * of_y
    return torch.mul(y, of_y).add_(x, alpha=of_x)


@dataclass(frozen=True)
class Level(Declared):
    """The numbers of x_t = alpha x_0 + sigma eps at one time.

    time: the schedule's own time. alpha: factor of the signal, at least 0. sigma: standard deviation of the
    noise, at least 0. Floats describe one level for a whole batch; float64 tensors of shape (batch,) give
    each sample its own.
    """

    time: Scalar
    alpha: Scalar
    sigma: Scalar

    def __post_init__(self) -> None:
        # nearly all levels that plans make are of plain floats, which need no look
        if not type(self.time) is type(self.alpha) is type(self.sigma) is float:
            super().__post_init__()

    @property
    def log_snr(self) -> Scalar:
        """log(alpha^2 / sigma^2), twice the lambda of the DPM-Solver papers; -inf without signal, inf without noise."""
        alpha, sigma = self.alpha, self.sigma
        if isinstance(alpha, Tensor) or isinstance(sigma, Tensor):
            return 2.0 * (as_tensor(alpha).log() - as_tensor(sigma).log())
        if sigma == 0.0:
            return math.inf
        return 2.0 * (math.log(alpha) - math.log(sigma)) if alpha > 0.0 else -math.inf

    @property
    def ratio(self) -> Scalar:
        """Noise over signal, sigma / alpha, the noise level where the signal has factor 1 (EDM); may be inf."""
        if isinstance(self.alpha, Tensor) or isinstance(self.sigma, Tensor):
            return as_tensor(self.sigma) / as_tensor(self.alpha)
        return self.sigma / self.alpha if self.alpha > 0.0 else math.inf

    def rows(self, index: Tensor | slice) -> Level:
        """Of these samples, of a level with a number for each."""
        return Level(*(as_tensor(part)[index] for part in (self.time, self.alpha, self.sigma)))

    def expand(self, name: Literal["time", "alpha", "sigma"], x: Tensor) -> Factor:
        """One of the numbers, ready to multiply x (batch, ...)."""
        return expand(getattr(self, name), x)
