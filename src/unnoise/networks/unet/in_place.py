"""Pointwise steps that write over what they read where no gradient needs it: large maps cost most when they are new.

Each takes over its first argument, which must be the caller's own; the numbers are those of the plain step, to the bit.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def silu(x: Tensor) -> Tensor:
    """SiLU: x sigmoid(x) (Hendrycks and Gimpel 2016)."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def plus(x: Tensor, other: Tensor) -> Tensor:
    """The sum of two maps of one shape."""
    return x + other if torch.is_grad_enabled() or x.dtype != other.dtype else x.add_(other)


def times(x: Tensor, other: Tensor) -> Tensor:
    """The product of two maps of one shape, number by number."""
    return x * other if torch.is_grad_enabled() or x.dtype != other.dtype else x.mul_(other)
