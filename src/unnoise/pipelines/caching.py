"""Feature caching: at which looks of a run the network's deep features are computed anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.networks.unet import Reusing
from unnoise.pipelines.approximation import Approximation
from unnoise.process import Level


@dataclass(frozen=True)
class FeatureCache(Approximation):
    """Deep features, and what guidance adds, are computed at some looks and used again at those between.

    What a network sees of x = alpha x_0 + sigma eps goes through a quarter turn, by the angle phi = atan(sigma / alpha)
    (Salimans & Ho 2022, app. D), and its features change with that. So a look is whole where phi has moved by more than
    `turn` since the last whole one, or where it is the `every`-th since. The others compute the finest level alone, and
    under guidance for the prompt alone. (DeepCache, Ma et al. 2024, is `every` without `turn`.)

    turn: radians, 0 to pi / 2; at 0 every look whose level is new is whole; None leaves it to `every`. every: 0 for no
    such rule; at 1 all looks are whole, to the bit as without a cache. blocks: how many of the last residual blocks a
    quick look computes; 0: all of the finest level.
    """

    named = "caching"
    example = "radians such as 0.15, or 'every=3'"

    turn: Annotated[float, (0.0, math.pi / 2), "radians"] | None = 0.15
    every: Annotated[int, (0, 1000)] = 0
    blocks: Annotated[int, (0, 1000)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.turn is None and not self.every:
            raise InputError(
                "this cache would never look again; give turn, for example 0.15, or every, such as 3."
            )


class Caching:
    """The cache of one run: which of its looks are whole."""

    def __init__(self, cache: FeatureCache, network: Reusing) -> None:
        self._cache, self._network = cache, network
        self._last = math.inf
        self._since = 0

    def look(self, level: Level, told_anew: bool) -> None:
        """Before each look. told_anew: the network is told other words than at the last one."""
        now, self._since = angle(level), self._since + 1
        if told_anew:
            self._network.forget()
        turned = self._cache.turn is not None and abs(now - self._last) > self._cache.turn
        due = turned or (0 < self._cache.every <= self._since)
        self._network.whole = due or not self._network.seen
        if self._network.whole:
            self._last, self._since = now, 0


def angle(level: Level) -> float:
    """The angle phi of a level: 0 without noise, pi / 2 without signal."""
    return math.atan2(float(level.sigma), float(level.alpha))


def cached(model: Model, cache: FeatureCache | None) -> tuple[Model, Caching | None]:
    """The model whose network reuses its features, and what tells it when; both for one run."""
    if cache is None:
        return model, None
    given = model.network  # an engine brings its own
    network = given if isinstance(given, Reusing) else Reusing(given, cache.blocks)
    return replace(model, network=network), Caching(cache, network)
