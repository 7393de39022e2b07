"""Transforms of the predicted clean sample: small callables that are put around `denoise`, in the order given.

Each takes an Estimate and returns one with another x0; the noise then follows from x. Anything of that shape may
stand among them, as guidance that rescales its x0 does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import Declared, Positive, typed
from unnoise.process import Estimate, Level
from unnoise.schedulers.plan import Denoise, estimated

Transform = Callable[[Estimate], Estimate]


def transformed(denoise: Denoise, *transforms: Transform) -> Denoise:
    """`denoise` followed by the transforms, first to last; itself something that `plan.run` takes.

    Raises InputError for one that is no function.
    """
    for part in (denoise, *transforms):
        typed("denoise or a transform", part, Callable, "transforms.Clip()")

    def view(x: Tensor, level: Level) -> Estimate:
        estimate = estimated(denoise, x, level)
        for transform in transforms:
            estimate = transform(estimate)
        return estimate

    return view


@dataclass(frozen=True)
class Clip(Declared):
    """x0 kept in [-limit, limit]: 1 for pictures in [-1, 1]; not for latents, which have no such bound."""

    limit: Positive = 1.0

    def __call__(self, estimate: Estimate) -> Estimate:
        """The estimate with x0 clipped."""
        return _with_x0(estimate, estimate.x0.clamp(-self.limit, self.limit))


@dataclass(frozen=True)
class DynamicThreshold(Declared):
    """x0 clipped at a quantile s of its own magnitudes and divided by it where s > 1 (Saharia et al. 2022, sec. 2.3).

    quantile: of each sample's values. largest: bound of s; 1 makes it a plain clip. Against the saturation that
    strong guidance brings, for pictures in [-1, 1].
    """

    quantile: float = 0.995
    largest: float = float("inf")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0.0 < self.quantile <= 1.0 and self.largest >= 1.0):
            raise InputError(
                f"quantile is {self.quantile} and largest {self.largest}; give 0 < quantile <= 1 and largest >= 1."
            )

    def __call__(self, estimate: Estimate) -> Estimate:
        """The estimate with x0 clipped and scaled, each sample (first axis) by its own threshold."""
        x0 = estimate.x0
        sizes = x0.abs().flatten(1).float()
        bound = torch.quantile(sizes, self.quantile, dim=1).clamp(1.0, self.largest).to(x0.dtype)
        bound = bound.reshape(-1, *[1] * (x0.dim() - 1))
        return _with_x0(estimate, x0.clamp(-bound, bound) / bound)


@dataclass(frozen=True, eq=False)
class Blend(Declared):
    """The known picture where the mask is 0, what the network sees where it is 1: inpainting.

    known: (batch, ...) or broadcast to it. mask: from 0 to 1, likewise.
    """

    known: Tensor
    mask: Tensor

    def __call__(self, estimate: Estimate) -> Estimate:
        """The estimate whose x0 is mask * x0 + (1 - mask) * known, that of its half likewise: CFG++ follows both."""
        x0 = estimate.x0
        changed = _with_x0(estimate, torch.lerp(self.known.to(x0), x0, self.mask.to(x0)))
        changed.half = None if estimate.half is None else self(estimate.half)
        return changed


@dataclass(frozen=True)
class Boundary(Declared):
    """x0 <- c_skip x + c_out x0, which is x itself at time 0: latent consistency models (Luo et al. 2023, sec. 4.1).

    c_skip = d^2 / (t^2 + d^2), c_out = t / sqrt(t^2 + d^2), with t the schedule's time times `scaling` and d
    `sigma_data`.
    """

    sigma_data: Positive = 0.5
    scaling: Positive = 10.0

    def __call__(self, estimate: Estimate) -> Estimate:
        """The estimate with the boundary condition met."""
        t = self.scaling * float(estimate.level.time)
        total = t**2 + self.sigma_data**2
        skip, out = self.sigma_data**2 / total, t / total**0.5
        return _with_x0(estimate, (estimate.x0 * out).add_(estimate.x, alpha=skip))


def _with_x0(estimate: Estimate, x0: Tensor) -> Estimate:
    changed = Estimate.from_x0(estimate.x, estimate.level, x0)
    changed.variance, changed.half = estimate.variance, estimate.half
    return changed
