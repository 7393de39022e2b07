"""How far two sets of feature vectors are apart: means and covariances, kernels, projections, plain distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from unnoise.errors import InputError, NonFiniteError
from unnoise.limits import shown

Features = npt.NDArray[np.float64]
"""(pictures, features), float64."""

_BLOCK = 512  # rows of a table of pairs held at once


def rows(name: str, features: Any, fewest: int = 2) -> Features:  # noqa: ANN401 - NumPy's, torch's, or a list
    """(pictures, features) as float64. Raises InputError for another shape or fewer rows, NonFiniteError."""
    try:
        plain = features.detach().cpu().double() if hasattr(features, "detach") else features
        found: Features = np.asarray(plain, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"{name} is {shown(features)}; give numbers (pictures, features).") from error
    if found.ndim != 2 or len(found) < fewest or not found.shape[1]:
        raise InputError(
            f"{name} has shape {list(found.shape)}; give (pictures, features) with at least {fewest} pictures."
        )
    if not np.isfinite(found).all():
        raise NonFiniteError(
            f"{name} holds features that are not finite; look at the pictures and the encoder."
        )
    return found


def two_sets(a: Any, b: Any, fewest: int = 2) -> tuple[Features, Features]:  # noqa: ANN401
    """Both as `rows`, of one width; else InputError."""
    first, second = rows("the first set", a, fewest), rows("the second set", b, fewest)
    if first.shape[1] != second.shape[1]:
        raise InputError(
            f"the first set has {first.shape[1]} features a picture, the second {second.shape[1]}; give pictures of "
            "one size."
        )
    return first, second


def frechet(a: Features, b: Features, force: bool = False) -> float:
    """Frechet distance between the normal laws of two sets: |m - n|^2 + tr(S + T - 2 (S T)^(1/2)).

    With Inception features this is the FID (Heusel et al. 2017). It is biased upwards for few pictures, so a set
    with no more pictures than features, whose covariance is singular, is refused unless `force`.
    """
    a, b = two_sets(a, b)
    fewest, width = min(len(a), len(b)), a.shape[1]
    if fewest <= width and not force:
        raise InputError(
            f"{fewest} pictures are too few for a Frechet distance of {width} features; give more than {width}, use "
            "the kernel distance, or force it."
        )
    S, T = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (a, b))
    root = _root(S)
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root.T @ T @ root), 0.0, None)).sum()
    mean = np.square(a.mean(0) - b.mean(0)).sum()
    return float(mean + np.trace(S) + np.trace(T) - 2.0 * cross)


def _root(matrix: Features) -> Features:
    """R with R R' = matrix: Cholesky's, or where the matrix is singular the symmetric one."""
    try:
        return np.asarray(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError:
        pass
    values, basis = np.linalg.eigh(matrix)
    root: Features = (basis * np.sqrt(np.clip(values, 0.0, None))) @ basis.T
    return root


def kernel(a: Features, b: Features) -> float:
    """Squared maximum mean discrepancy under (x'y / d + 1)^3: the KID (Binkowski et al. 2018). Unbiased."""
    a, b = two_sets(a, b)
    width = a.shape[1]

    def mean(x: Features, y: Features, same: bool) -> float:
        total = sum(float(((row @ y.T / width + 1.0) ** 3).sum()) for row in _blocks(x))
        if not same:
            return total / (len(x) * len(y))
        own = float(((np.square(x).sum(1) / width + 1.0) ** 3).sum())
        return (total - own) / (len(x) * (len(x) - 1))

    return mean(a, a, True) + mean(b, b, True) - 2.0 * mean(a, b, False)


def energy(a: Features, b: Features) -> float:
    """Energy distance 2 E|x - y| - E|x - x'| - E|y - y'| (Szekely & Rizzo 2013). Unbiased, may be below 0."""
    a, b = two_sets(a, b)

    def mean(x: Features, y: Features, pairs: int) -> float:
        return sum(float(block.sum()) for block in pair_distances(x, y)) / pairs

    within = mean(a, a, len(a) * (len(a) - 1)) + mean(b, b, len(b) * (len(b) - 1))
    return 2.0 * mean(a, b, len(a) * len(b)) - within


def sliced_wasserstein(a: Features, b: Features, directions: int = 256, seed: int = 0) -> float:
    """Root of the mean squared Wasserstein-2 distance over random directions (Bonneel et al. 2015).

    Sets of different sizes are compared at the quantiles of the larger one.
    """
    a, b = two_sets(a, b)
    drawn = np.random.default_rng(seed).standard_normal((a.shape[1], directions))
    drawn /= np.linalg.norm(drawn, axis=0)
    count = max(len(a), len(b))
    one, other = (_quantiles(np.sort(part @ drawn, axis=0), count) for part in (a, b))
    return float(np.sqrt(np.square(one - other).mean()))


def _quantiles(ordered: Features, count: int) -> Features:
    if len(ordered) == count:
        return ordered
    place = (np.arange(count) + 0.5) / count * len(ordered) - 0.5
    low = np.clip(np.floor(place).astype(int), 0, len(ordered) - 1)
    high = np.clip(low + 1, 0, len(ordered) - 1)
    part = np.clip(place - low, 0.0, 1.0)[:, None]
    mixed: Features = ordered[low] * (1.0 - part) + ordered[high] * part
    return mixed


def _blocks(x: Features) -> list[Features]:
    return [x[start : start + _BLOCK] for start in range(0, len(x), _BLOCK)]


def pair_distances(x: Features, y: Features) -> list[Features]:
    """|x_i - y_j| in blocks of rows. A vector's distance to itself is exactly 0."""
    centre = y.mean(0)  # far from the origin the squares would drown the differences
    x, y = x - centre, y - centre
    squares = np.square(y).sum(1)
    found = []
    for rows in _blocks(x):
        square = np.square(rows).sum(1)[:, None] + squares - 2.0 * rows @ y.T
        square[square < 1e-12 * (np.square(rows).sum(1)[:, None] + squares)] = 0.0
        found.append(np.sqrt(square))
    return found
