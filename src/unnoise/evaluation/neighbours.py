"""What nearest neighbours tell: whether each picture looks real, every kind is there, and none is a copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unnoise.errors import InputError
from unnoise.evaluation.distances import Features, pair_distances, two_sets
from unnoise.limits import is_whole, shown


@dataclass(frozen=True)
class Manifold:
    """precision, density: of the made pictures, how many lie among real ones. recall, coverage: the reverse."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: Features, made: Features, neighbours: int = 5) -> Manifold:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    A ball around each picture reaches to its `neighbours`-th nearest of its own set; a picture of the other set
    inside any ball counts. Density counts the balls, so one stray real picture does less harm.
    """
    real, made = two_sets(real, made)
    fewest = min(len(real), len(made))
    if not is_whole(neighbours, 1, fewest - 1):
        raise InputError(
            f"neighbours is {shown(neighbours)} for {fewest} pictures; give a whole number from 1 to {fewest - 1}."
        )
    reach_real, reach_made = _reach(real, neighbours), _reach(made, neighbours)
    across = np.concatenate(pair_distances(real, made))
    inside = across <= reach_real[:, None]
    return Manifold(
        precision=float(inside.any(0).mean()),
        recall=float((across <= reach_made).any(1).mean()),
        density=float(inside.sum(0).mean() / neighbours),
        coverage=float((across.min(1) <= reach_real).mean()),
    )


def _reach(x: Features, neighbours: int) -> Features:
    """Distance of each row to its k-th nearest other row."""
    found = [np.partition(block, neighbours, axis=1)[:, neighbours] for block in pair_distances(x, x)]
    return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class Nearest:
    """The training picture nearest to each sample.

    index, distance: (samples,). usual: the median distance between a training picture and its nearest other.
    """

    index: npt.NDArray[np.int64]
    distance: Features
    usual: float

    @property
    def copies(self) -> npt.NDArray[np.int64]:
        """Samples at most a quarter of the usual distance from a training picture: look at these."""
        return np.flatnonzero(self.distance <= 0.25 * self.usual)


def nearest(samples: Features, training: Features) -> Nearest:
    """The memorisation check: for each sample its nearest training picture."""
    samples, training = two_sets(samples, training, 1)
    if len(training) < 2:
        raise InputError(
            f"{len(training)} training pictures are too few to say what is near; give at least 2."
        )
    across = np.concatenate(pair_distances(samples, training))
    index = across.argmin(1)
    distance = across[np.arange(len(samples)), index]
    return Nearest(index, distance, float(np.median(_reach(training, 1))))
