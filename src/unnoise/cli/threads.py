"""How many threads a command computes on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unnoise.checkpoints import Model

_TURNS = "10000"
"""How often a thread of GNU's OpenMP looks whether the others are there, some 0.05 ms, before it sleeps."""


def wait_briefly() -> None:
    """Have threads that wait for one another sleep soon; who has said how they wait is left alone.

    By itself GNU's OpenMP looks 300,000 times, which on a busy machine is time taken from the thread that is waited
    for: a picture of `emoji` took 11 to 37 s on two cores beside two or three busy processes, and takes 2 to 4 like
    this; on a quiet one 0.7 either way. Heard when torch is loaded, so it is said before.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _TURNS


def fit_threads(model: Model, pictures: int, asked: int | None = None) -> None:
    """Compute on as many threads as are asked for; else on torch's own number, or on one where no more are worth it.

    pictures: in one call of the network.
    """
    import torch

    from unnoise.networks.hardware import worth_threads

    if asked is not None or not worth_threads(model.network, pictures):
        torch.set_num_threads(asked or 1)
