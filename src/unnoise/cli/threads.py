"""How many threads a command computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unnoise.checkpoints import Model


def fit_threads(model: Model, pictures: int, asked: int | None = None) -> None:
    """Compute on as many threads as are asked for; else on torch's own number, or on one where no more are worth it.

    pictures: in one call of the network.
    """
    import torch

    from unnoise.networks.hardware import worth_threads

    if asked is not None or not worth_threads(model.network, pictures):
        torch.set_num_threads(asked or 1)
