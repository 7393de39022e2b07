"""Latents decoded in tiles, without seams: every tile is normalised by the statistics of the whole picture.

Cut into tiles, an ordinary decoder shows seams and shifts of colour, for two reasons: its attention and its group
norms look at the whole map. Here the coarsest map, attention included, is made whole (it is small), and only what grows
from it in tiles. The norms' statistics are summed over all tiles in a first round, in which tiles use their own, and
held fixed in the second. A tile with a margin as wide as its convolutions reach then has exactly the pixels that its
neighbours have there: no seam can be. What is left is one smooth difference to the whole decoder, from statistics that
were gathered under those of tiles; each further round makes the next norm's exact (the first is after one).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from unnoise.networks.unet.norm import GroupNorm
from unnoise.networks.vae import AutoEncoder, AutoEncoderConfig

TILE = 64
"""Latents of a tile's side, without its margin."""


@dataclass
class _Sums:
    """Of one norm: numbers, and their sums and squares, (batch, groups) float64."""

    count: int = 0
    first: Tensor | float = 0.0
    second: Tensor | float = 0.0

    def add(self, x: Tensor, groups: int) -> None:
        parts = x.double().reshape(x.shape[0], groups, -1)
        self.count += parts.shape[2]
        self.first = self.first + parts.sum(dim=2)
        self.second = self.second + parts.square().sum(dim=2)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        mean = torch.as_tensor(self.first) / self.count
        return mean, (torch.as_tensor(self.second) / self.count - mean.square()).clamp(min=0.0)


Statistics = dict[GroupNorm, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _Tile:
    """A part of the map: rows and columns that are its own, and with their margin; in latents."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    wide_rows: tuple[int, int]
    wide_columns: tuple[int, int]

    def wide(self, x: Tensor) -> Tensor:
        return x[:, :, slice(*self.wide_rows), slice(*self.wide_columns)]

    def own(self, x: Tensor) -> Tensor:
        """Of a map grown from `wide`, what is the tile's own."""
        scale = x.shape[2] // (self.wide_rows[1] - self.wide_rows[0])
        top, left = self.wide_rows[0], self.wide_columns[0]
        rows, columns = (
            ((end - top) * scale for end in self.rows),
            ((end - left) * scale for end in self.columns),
        )
        return x[:, :, slice(*rows), slice(*columns)]


@dataclass
class _Gathering:
    """A norm that sums up what it sees of the tile's own places."""

    tile: _Tile
    known: Statistics
    sums: dict[GroupNorm, _Sums] = field(default_factory=dict)

    def __call__(self, norm: GroupNorm, x: Tensor) -> Tensor:
        self.sums.setdefault(norm, _Sums()).add(self.tile.own(x), norm.num_groups)
        if norm in self.known:
            return normalised(norm, x, self.known[norm])
        out: Tensor = norm(x)
        return out


def normalised(norm: GroupNorm, x: Tensor, statistics: tuple[Tensor, Tensor]) -> Tensor:
    """Group norm with given statistics.

    x: (batch, width, h, w). statistics: mean and variance, each (batch, groups) float64.
    """
    mean, variance = (each.repeat_interleave(x.shape[1] // norm.num_groups, dim=1) for each in statistics)
    factor = norm.weight.double() * (variance + norm.eps).rsqrt()
    shift = norm.bias.double() - mean * factor
    factor, shift = (each.to(x.dtype)[:, :, None, None] for each in (factor, shift))
    return torch.addcmul(shift, x, factor)


def decode_in_tiles(autoencoder: AutoEncoder, latents: Tensor, tile: int = TILE, rounds: int = 1) -> Tensor:
    """As `AutoEncoder.decode`, in memory that grows with the tile's area and not the picture's.

    latents: (batch, latent channels, h, w). tile: latents of a tile's side. rounds: in which statistics are gathered;
    the work is about (1 + rounds) ((tile + 2 margin) / tile)^2 of the whole decoder's.
    """
    decoder = autoencoder.decoder
    deep = decoder.deep(autoencoder.post_quant(autoencoder.inside(latents)))
    tiles = list(_tiles(deep.shape[2], deep.shape[3], tile, reach(autoencoder.config)))
    known: Statistics = {}
    for _ in range(rounds):
        sums: dict[GroupNorm, _Sums] = {}
        for each in tiles:
            decoder.grown(each.wide(deep), _Gathering(each, known, sums))
        known = {norm: each.mean_and_variance() for norm, each in sums.items()}
    factor = autoencoder.config.factor
    height, width = deep.shape[2] * factor, deep.shape[3] * factor
    picture = latents.new_empty(latents.shape[0], autoencoder.config.channels, height, width)
    for each in tiles:
        made = decoder.grown(each.wide(deep), lambda norm, x: normalised(norm, x, known[norm]))
        rows, columns = (slice(low * factor, high * factor) for low, high in (each.rows, each.columns))
        picture[:, :, rows, columns] = each.own(made).to(latents.dtype)
    return picture


def reach(config: AutoEncoderConfig) -> int:
    """How far, in latents, a pixel of the decoder sees after the coarsest map: 13 for Stable Diffusion."""
    far = 1  # the last convolution
    for level in range(len(config.widths)):
        far += 2 * (config.blocks + 1)
        if level < len(config.widths) - 1:
            far = -(-(far + 1) // 2)  # the convolution after doubling, and the doubling
    return far


def _tiles(height: int, width: int, size: int, margin: int) -> Iterator[_Tile]:
    for rows in _parts(height, size):
        for columns in _parts(width, size):
            wide = (
                (max(0, low - margin), min(whole, high + margin))
                for (low, high), whole in ((rows, height), (columns, width))
            )
            yield _Tile(rows, columns, *wide)


def _parts(length: int, size: int) -> list[tuple[int, int]]:
    """`length` in parts of nearly equal size, at most `size`."""
    count = -(-length // size)
    ends = [length * place // count for place in range(count + 1)]
    return list(pairwise(ends))
