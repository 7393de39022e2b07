"""What networks compute in while they learn, and the scale of the loss in float16, which small gradients need."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unnoise.networks.hardware import suited_dtype

_PATIENCE = 2000  # good steps before the scale is doubled


def compute_dtype(precision: str, device: torch.device, count: int) -> torch.dtype:
    """What `run.precision` means. count: numbers in the network that predicts, which "auto" goes by."""
    dtype: torch.dtype = suited_dtype(count, device) if precision == "auto" else getattr(torch, precision)
    return dtype


class LossScale:
    """The loss is multiplied by `value`, a power of two, and the gradients divided by it before they are clipped.

    A step whose gradient overflowed is left out and halves the scale; 2,000 good steps in a row double it
    (Micikevicius et al. 2018, sec. 3.2). The rule reads what the step has found out anyway, so that the device
    is not waited for once more. `value` and `good` are all that a checkpoint needs.
    """

    def __init__(self, value: float = 2.0**16, good: int = 0) -> None:
        self.value = value
        self.good = good

    @torch.no_grad()
    def undo(self, parameters: Sequence[Tensor]) -> None:
        """Divide the gradients by the scale."""
        gradients = [weight.grad for weight in parameters if weight.grad is not None]
        torch._foreach_mul_(gradients, 1.0 / self.value)

    def hear(self, applied: bool) -> bool:
        """Take note of a step; returns whether the scale was lowered (it never goes below 1)."""
        if applied:
            self.good += 1
            if self.good == _PATIENCE:
                self.value, self.good = min(2.0 * self.value, 2.0**24), 0
            return False
        lowered = self.value > 1.0
        self.value, self.good = max(1.0, self.value / 2.0), 0
        return lowered
