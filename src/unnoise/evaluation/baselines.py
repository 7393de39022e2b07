"""Models that anyone can fit in a second: what a diffusion model's bits per number must be read beside."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.evaluation.result import Likelihood, summarise
from unnoise.evaluation.subject import on_grid


def independent_pixels(train: Tensor, test: Tensor, bins: int = 256, prior: float = 1.0) -> Likelihood:
    """Every number by its own histogram of `train`, with `prior` added to each count (Laplace).

    train, test: pictures as `bits_per_dim` takes them. Raises InputError where their shapes differ.
    """
    seen, unseen = _levels(train, test, bins)
    table = torch.zeros(seen.shape[1], bins, dtype=torch.float64, device="cpu")
    table.scatter_add_(1, seen.T, torch.ones_like(seen.T, dtype=torch.float64))
    log = ((table + prior) / (len(seen) + bins * prior)).log()
    each = -log[torch.arange(seen.shape[1], device="cpu"), unseen].mean(1)
    told = (f"histograms of {len(seen)} pictures, {prior:g} added to each of {bins} counts",)
    return summarise({"pixels": each}, calls=0, estimator="independent pixels", conventions=told)


def gaussian(train: Tensor, test: Tensor, bins: int = 256, seed: int = 0) -> Likelihood:
    """One normal law with the full covariance of `train`, uniformly dequantised.

    The covariance is shrunk towards its diagonal by the share that the data ask for (Schaefer & Strimmer 2005),
    and holds the variance of a uniform bin. Raises InputError where the shapes differ.
    """
    seen, unseen = (levels.double() for levels in _levels(train, test, bins))
    source = torch.Generator().manual_seed(seed)
    places = unseen + torch.rand(unseen.shape, generator=source, dtype=torch.float64, device="cpu")
    mean = seen.mean(0) + 0.5
    covariance, shrunk = _shrunk(seen - seen.mean(0))
    covariance += torch.eye(len(mean), dtype=torch.float64, device="cpu") / 12.0
    root = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(root, (places - mean).T, upper=False)
    numbers = len(mean)
    log_det = 2.0 * root.diagonal().log().sum()
    each = 0.5 * (white.square().sum(0) + log_det + numbers * math.log(2.0 * math.pi)) / numbers
    told = (
        f"full covariance of {len(seen)} pictures, shrunk by {shrunk:.3f}, uniform dequantisation to {bins} bins",
    )
    return summarise({"density": each}, calls=0, estimator="Gaussian with full covariance", conventions=told)


def _levels(train: Tensor, test: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Grey levels 0 .. bins - 1 of both as whole numbers, (pictures, numbers)."""
    places = ((on_grid(images, bins).double() + 1.0) * (bins - 1) / 2.0 for images in (train, test))
    seen, unseen = (place.round().long().flatten(1) for place in places)
    if seen.shape[1] != unseen.shape[1] or len(seen) < 2 or len(unseen) == 0:
        raise InputError(
            f"{len(seen)} pictures of {seen.shape[1]} numbers are to explain {len(unseen)} of {unseen.shape[1]}; give "
            "at least two and one, of one size."
        )
    return seen, unseen


def _shrunk(centred: Tensor) -> tuple[Tensor, float]:
    """Covariance with its off-diagonal entries scaled by 1 - share, share = sum Var(s_ij) / sum s_ij^2."""
    count = len(centred)
    covariance = centred.T @ centred / count
    own, square = covariance.diagonal().clone(), covariance.square()
    # each is 1.2 GB of 64x64 pictures
    variance = ((centred**2).T @ (centred**2)).div_(count).sub_(square).div_(count)
    off = [float(each.fill_diagonal_(0.0).sum()) for each in (variance, square)]
    share = min(max(off[0] / max(off[1], 1e-300), 0.0), 1.0)
    covariance.mul_(1.0 - share).diagonal().copy_(own)
    return covariance, share
