"""How many threads a network is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unnoise.checkpoints import Model

_SMALL = 2_000_000


def fit_threads(model: Model) -> None:
    """One thread for a network of few numbers: it computes faster than threads can wait for each other.

    On a busy machine of two cores the shipped digits model takes 12 ms a call on one thread and 700 on two.
    """
    import torch

    if sum(weight.numel() for weight in model.network.parameters()) < _SMALL:
        torch.set_num_threads(1)
