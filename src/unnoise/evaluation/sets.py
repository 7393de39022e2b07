"""All distances between two sets of features, each with an interval, and what must be said beside the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unnoise.errors import InputError
from unnoise.evaluation.distances import Features, energy, frechet, kernel, sliced_wasserstein, two_sets
from unnoise.evaluation.neighbours import manifold
from unnoise.evaluation.pictures import Numbers
from unnoise.evaluation.subject import Told

if TYPE_CHECKING:
    from torch import Tensor

_FEWEST = 10
_WHOLE = ("int", "uint")


@dataclass(frozen=True)
class Interval:
    """A value and the 95 % interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        known = math.isfinite(self.low)
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})" if known else f"{self.value:.3g}"


@dataclass(frozen=True)
class SetDistance:
    """How far two sets of pictures are apart. values: by name. notes: what must be told beside them."""

    values: Mapping[str, Interval]
    pictures: tuple[int, int]
    features: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where there is no interval."""
        values = {
            name: {end: number if math.isfinite(number) else None for end, number in asdict(value).items()}
            for name, value in self.values.items()
        }
        return asdict(self) | {"values": values}


def distance(
    real: Numbers | Tensor,
    made: Numbers | Tensor,
    *,
    features: str = "given",
    neighbours: int = 5,
    resamples: int = 40,
    force: bool = False,
    seed: int = 0,
    told: Told | None = None,
) -> SetDistance:
    """Every distance between two sets of feature vectors (pictures, features), float64, with intervals.

    Intervals come from half samples: a statistic of half the pictures, drawn without replacement, varies around
    its mean as that of all pictures varies around the truth. Plain bootstrap copies pictures, which a nearest
    neighbour sees at once. resamples: how many halves; 0 gives no intervals. force: a Frechet distance of too few
    pictures too. told(done, whole) hears of progress. Raises InputError for sets that cannot be compared.
    """
    kinds = [str(getattr(part, "dtype", "float64")).removeprefix("torch.") for part in (real, made)]
    if kinds[0].startswith(_WHOLE) != kinds[1].startswith(_WHOLE):
        raise InputError(
            f"the first set is {kinds[0]}, the second {kinds[1]}; give both as floats of one scale, for bytes and "
            "floats are seldom that."
        )
    a, b = two_sets(real, made, _FEWEST)
    few = min(len(a), len(b)) <= a.shape[1]
    chosen = {"frechet": lambda x, y: frechet(x, y, True)} if force or not few else {}
    measures: dict[str, Callable[[Features, Features], float]] = {
        **chosen,
        "kernel": kernel,
        "energy": energy,
        "sliced_wasserstein": lambda x, y: sliced_wasserstein(x, y, seed=seed),
    }
    whole = _every(measures, a, b, neighbours)
    halves = []
    for done, (x, y) in enumerate(half_samples(a, b, resamples, seed), 1):
        halves.append(_every(measures, x, y, min(neighbours, len(x) - 1, len(y) - 1)))
        if told is not None:
            told(done, resamples)
    values = {name: interval(value, [half[name] for half in halves]) for name, value in whole.items()}
    notes = (
        [] if chosen else [f"no Frechet distance: {min(len(a), len(b))} pictures for {a.shape[1]} features"]
    )
    above = " and ".join(name for name in ("frechet", "sliced_wasserstein") if name in values)
    notes.append(f"above 0 for equal sets too, the more the fewer pictures: {above.replace('_', ' ')}")
    return SetDistance(values, (len(a), len(b)), features, tuple(notes))


def _every(
    measures: Mapping[str, Callable[[Features, Features], float]], a: Features, b: Features, neighbours: int
) -> dict[str, float]:
    return {name: measure(a, b) for name, measure in measures.items()} | asdict(manifold(a, b, neighbours))


def half_samples(a: Features, b: Features, count: int, seed: int = 0) -> Iterator[tuple[Features, Features]]:
    """Half the rows of both, drawn without replacement, so many times."""
    source = np.random.default_rng(seed)
    for _ in range(count):
        x, y = (part[source.permutation(len(part))[: len(part) // 2]] for part in (a, b))
        yield x, y


def interval(value: float, halves: list[float]) -> Interval:
    """A statistic of all with its interval, from the same of half samples; unknown ends with fewer than two."""
    if len(halves) < 2:
        return Interval(value, math.nan, math.nan)
    reach = 1.96 * float(np.std(halves, ddof=1))
    return Interval(value, value - reach, value + reach)
