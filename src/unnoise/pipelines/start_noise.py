"""The noise that other programs start a picture from, of the same seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

STARTS = ("torch", "cuda")
"""torch: torch's generator on the CPU (ComfyUI, InvokeAI, A1111 with RNG CPU). cuda: that of an NVIDIA card (A1111)."""

Words = npt.NDArray[np.uint64]

_MULTIPLY = (0xD2511F53, 0xCD9E8D57)
_KEYS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_NO_ARC = 1e-3
_LOW = np.uint64(0xFFFFFFFF)


def start_noise(kind: str, seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Unit noise (pictures, ...) on the CPU, float32, a row for each seed. kind: one of STARTS."""
    if kind == "torch":
        plain: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
        each = (torch.Generator().manual_seed(seed) for seed in seeds)
        return torch.stack([torch.randn(*shape[1:], generator=source, **plain) for source in each])
    count = math.prod(shape[1:])
    return torch.stack([torch.from_numpy(_cuda(seed, count)).reshape(tuple(shape[1:])) for seed in seeds])


def mixed(noise: Tensor, other: Tensor, share: float) -> Tensor:
    """Two noises on the arc between them (Shoemake 1985), `share` of the way to the other, from 0 to 1.

    noise, other: (pictures, channels, height, width), unit. As in A1111, whose variations these are, each column is an
    arc of its own. Columns that point the same way, or the opposite, have no arc and are mixed in a line.
    """
    cosine = torch.nn.functional.cosine_similarity(noise, other, dim=2).clamp(-1.0, 1.0)
    angle = torch.acos(cosine).unsqueeze(2)
    sine = torch.sin(angle)
    arc = (torch.sin((1.0 - share) * angle) * noise + torch.sin(share * angle) * other) / sine
    return torch.where(sine < _NO_ARC, (1.0 - share) * noise + share * other, arc)


def _cuda(seed: int, count: int) -> npt.NDArray[np.float32]:
    """The first `count` numbers of torch.randn on an NVIDIA card, but for the last digits of its sine.

    Number i is the first of the pair that Box and Muller make of the first two words of Philox 4x32-10 (Salmon et
    al. 2011) at counter (0, 0, i, 0): each thread of the card keeps the first of four. That holds while the card
    has a thread for each number, which it has for the latents of one picture.
    """
    counter = np.zeros((4, count), dtype=np.uint64)
    counter[2] = np.arange(count, dtype=np.uint64)
    first, second, _, _ = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))
    u = first.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)
    angle = second.astype(np.float32) * np.float32(2.0**-32 * 2.0 * math.pi) + np.float32(
        2.0**-33 * 2.0 * math.pi
    )
    drawn: npt.NDArray[np.float32] = (np.sqrt(np.float32(-2.0) * np.log(u)) * np.sin(angle)).astype(
        np.float32
    )
    return drawn


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox 4x32 of ten rounds. counter: (4, n), words of 32 bits in uint64. Returns the same shape."""
    a, b, c, d = counter
    left, right = key
    for _ in range(_ROUNDS):
        one, two = a * np.uint64(_MULTIPLY[0]), c * np.uint64(_MULTIPLY[1])
        a, b, c, d = (
            (two >> np.uint64(32)) ^ b ^ np.uint64(left),
            two & _LOW,
            (one >> np.uint64(32)) ^ d ^ np.uint64(right),
            one & _LOW,
        )
        left, right = (left + _KEYS[0]) & 0xFFFFFFFF, (right + _KEYS[1]) & 0xFFFFFFFF
    return np.stack([a, b, c, d])
