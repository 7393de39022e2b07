"""Pictures moved, scaled and mirrored a little, so that a small set teaches more.

How, is a function of (seed, step, position): see `draws`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from unnoise.training.config import DataConfig
from unnoise.training.draws import Draws


def augmented(x0: Tensor, config: DataConfig, draws: Draws, captions: Sequence[Sequence[str]]) -> Tensor:
    """The pictures (positions, C, H, W), in [-1, 1], as this step shows them; the same shape.

    captions: all that each picture has: one with a word of `config.mirror_guard` is not mirrored.
    """
    if config.mirror:
        flips = [
            drawn < 0.5 and not _says(words, config.mirror_guard)
            for drawn, words in zip(draws.uniform("mirror"), captions, strict=True)
        ]
        x0 = x0.clone()
        chosen = torch.tensor(flips, device="cpu")
        x0[chosen] = x0[chosen].flip(-1)
    if not config.shift and not config.scale:
        return x0
    return _moved(x0, _placed(config, draws), config)


def _says(captions: Sequence[str], guard: Sequence[str]) -> bool:
    """Whether a caption has one of these words, or phrases, in whatever case."""
    said = [re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE) for words in guard]
    return any(each.search(caption) for caption in captions for each in said)


def _placed(config: DataConfig, draws: Draws) -> Tensor:
    """Size of each picture beside its own, and its shift to the right and down in sides: float32, (positions, 3)."""

    def drawn(purpose: str) -> list[float]:
        return [2.0 * part - 1.0 for part in draws.uniform(purpose)]

    # as often so much larger as so much smaller
    sizes = [(1.0 + config.scale) ** part for part in drawn("scale")]
    right, down = ([config.shift * part for part in drawn(purpose)] for purpose in ("shift-x", "shift-y"))
    return torch.tensor([sizes, right, down], dtype=torch.float32, device="cpu").T


def _moved(x0: Tensor, placed: Tensor, config: DataConfig) -> Tensor:
    """Bilinear; what comes into the picture is white, or repeats its edge. placed: (positions, 3)."""
    size, right, down = placed.unbind(1)
    matrix = placed.new_zeros(len(x0), 2, 3)
    # The grid says where each point comes from, in halves of a side: the move backwards.
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1.0 / size
    matrix[:, 0, 2], matrix[:, 1, 2] = -2.0 * right / size, -2.0 * down / size
    grid = F.affine_grid(matrix, list(x0.shape), align_corners=False)
    if config.fill == "edge":
        return F.grid_sample(x0, grid, padding_mode="border", align_corners=False)
    return F.grid_sample(x0 - 1.0, grid, padding_mode="zeros", align_corners=False) + 1.0
