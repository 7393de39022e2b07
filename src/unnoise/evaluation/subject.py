"""What is being measured: a diffuser, the pictures, what the network is told of each, the noise, and the unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise import randomness
from unnoise.errors import InputError
from unnoise.evaluation.pictures import check_range
from unnoise.limits import whole
from unnoise.process import Diffuser, Estimate, Level

BATCH = 64
"""Rows of one network call, where nothing else is asked."""

Draw = Callable[[str, int, int], Tensor]
"""Standard normal numbers shaped as one picture, from a purpose, the picture's place and the draw's number."""

Told = Callable[[int, int], None]
"""Hears how many network calls are done, of how many."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Pictures under a diffuser. Arithmetic is float64 on the CPU; the network is asked in the pictures' own type.

    x0: (pictures, ...). conditioning: tensors with a row for each picture, passed to the network by name. draw:
    where noise comes from. batch: rows of one network call. told: hears of progress, or None. bins: grey levels of the
    pictures; None asks for the density of plain numbers. seed: of what is drawn beside the noise. unit: of the result.
    """

    diffuser: Diffuser
    x0: Tensor
    conditioning: Mapping[str, Tensor]
    draw: Draw
    batch: int = BATCH
    told: Told | None = None
    bins: int | None = None
    seed: int = 0
    unit: str = "bits/dim"

    def __post_init__(self) -> None:
        whole("batch", self.batch, 1, example=BATCH)

    def __len__(self) -> int:
        return len(self.x0)

    @property
    def every(self) -> Tensor:
        """The places of all pictures."""
        return torch.arange(len(self), device="cpu")

    @property
    def numbers(self) -> int:
        """How many numbers one picture has."""
        return self.x0[0].numel()

    def chunks(self, rows: int) -> Iterator[slice]:
        """Slices of at most `batch` rows; tells of progress after each."""
        for start in range(0, rows, self.batch):
            yield slice(start, min(start + self.batch, rows))
            if self.told is not None:
                self.told(min(start + self.batch, rows), rows)

    def clean(self, which: Tensor) -> Tensor:
        """The pictures at these places, float64 on the CPU."""
        return self.x0[which.to(self.x0.device)].cpu().double()

    def noise(self, purpose: str, which: Tensor, draws: Sequence[int]) -> Tensor:
        """A noise for each of these places and draws, float64."""
        pairs = zip(which.tolist(), draws, strict=True)
        return torch.stack([self.draw(purpose, place, number) for place, number in pairs]).double()

    def seen(
        self, purpose: str, which: Tensor, draws: Sequence[int], level: Level
    ) -> tuple[Tensor, Tensor, Estimate]:
        """The pictures at these places, a noise for each, and what the network sees of both at `level`: float64.

        No gradients are kept.
        """
        x0, eps = self.clean(which), self.noise(purpose, which, draws)
        x = self.diffuser.add_noise(x0, eps, level).to(self.x0.device, self.x0.dtype)
        with torch.no_grad():
            return x0, eps, self.look(which, x, level, self.diffuser.clip)

    def look(self, which: Tensor, x: Tensor, level: Level, clip: float | None) -> Estimate:
        """What the network sees in x (rows, ...), of a type that it can take; gradients flow where they are on."""
        told = {name: rows[which.to(rows.device)] for name, rows in self.conditioning.items()}
        seen = self.diffuser.estimate(x, level, **told)
        variance = None if seen.variance is None else seen.variance.cpu().double()
        output = seen.output.cpu().double()
        return Estimate(x.cpu().double(), level, output, self.diffuser.prediction, variance, clip)


def keyed(seed: int, shape: Sequence[int]) -> Draw:
    """Noise that is a pure function of the seed, the purpose, the picture's place and the draw's number."""

    def draw(purpose: str, place: int, number: int) -> Tensor:
        return randomness.normal(seed, f"likelihood {purpose}", place, number, shape=shape)

    return draw


def on_grid(images: Tensor, bins: int) -> Tensor:
    """Pictures as floats in [-1, 1] on the grid of `bins` grey levels: bytes are scaled, floats are checked.

    Raises InputError for floats between the grey levels or out of range.
    """
    whole("bins", bins, 2, 2**16, 256)
    check_range(images)
    limit, given = 0.05, images
    if images.dtype == torch.uint8:
        # Bytes of a picture with few grey levels are rounded, by half of one at most.
        limit = 0.5 * (bins - 1) / 255.0 + 1e-4 if bins < 256 else limit
        images = images.float() / 127.5 - 1.0
    place = (images.double() + 1.0) * (bins - 1) / 2.0
    off = (place - place.round()).abs()
    if float(off.max()) > limit:
        value = given.flatten()[off.argmax()].item()
        if given.dtype == torch.uint8:
            raise InputError(
                f"the pictures hold the grey {value} of 255, which is none of the {bins} grey levels; ask for 256 "
                "levels, which hold every one."
            )
        raise InputError(
            f"images hold {value:.6g}, which is none of the {bins} grey levels -1 + 2 k / {bins - 1}; give uint8 "
            "pictures, or space='numbers' for the density of plain numbers."
        )
    exact = place.round() * 2.0 / (bins - 1) - 1.0
    return exact.to(images.dtype)
