"""Feature caching: at which looks of a run the network's deep features are computed anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from unnoise.checkpoints.model import Model
from unnoise.errors import InputError
from unnoise.limits import number, whole
from unnoise.networks.unet import Reusing
from unnoise.process import Level

MOST = 1000


@dataclass(frozen=True)
class FeatureCache:
    """Deep features, and what guidance adds, are computed at some looks and used again at those between.

    What a network sees of x = alpha x_0 + sigma eps goes through a quarter turn, by the angle phi = atan(sigma / alpha)
    (Salimans & Ho 2022, app. D), and its features change with that. So a look is whole where phi has moved by more than
    `turn` since the last whole one, or where it is the `every`-th since. The others compute the finest level alone, and
    under guidance for the prompt alone. (DeepCache, Ma et al. 2024, is `every` without `turn`.)

    turn: radians, 0 to pi / 2; at 0 every look whose level is new is whole; None leaves it to `every`. every: 0 for no
    such rule; at 1 all looks are whole, to the bit as without a cache. blocks: how many of the last residual blocks a
    quick look computes; 0: all of the finest level.
    """

    turn: float | None = 0.15
    every: int = 0
    blocks: int = 0

    def __post_init__(self) -> None:
        if self.turn is not None:
            turn = number("the cache's turn", self.turn, 0.0, math.pi / 2, 0.15, "radians")
            object.__setattr__(self, "turn", turn)  # a fraction's text would not be read again
        whole("the cache's every", self.every, 0, MOST, 3)
        whole("the cache's blocks", self.blocks, 0, MOST, 1)
        if self.turn is None and not self.every:
            raise InputError(
                "this cache would never look again; give turn, for example 0.15, or every, such as 3."
            )

    def to_text(self) -> str:
        """For a recipe: "turn 0.15", "every 3 blocks 1"."""
        told = {"turn": self.turn, "every": self.every or None, "blocks": self.blocks or None}
        return " ".join(f"{name} {value}" for name, value in told.items() if value is not None)

    @classmethod
    def from_text(cls, text: str) -> FeatureCache:
        """The inverse of `to_text`; a number alone is the turn. Raises InputError for other words."""
        words = text.replace("=", " ").replace(",", " ").split()
        words = ["turn", *words] if len(words) == 1 else words
        told: dict[str, str] = dict(zip(words[::2], words[1::2], strict=False))
        try:
            if 2 * len(told) != len(words) or not set(told) <= {"turn", "every", "blocks"}:
                raise ValueError
            turn = float(told["turn"]) if "turn" in told else None
            return cls(turn, int(told.get("every", "0")), int(told.get("blocks", "0")))
        except ValueError as error:
            raise InputError(
                f"'{text[:40]}' makes no sense as a cache; give radians such as 0.15, or 'every=3'."
            ) from error


def as_cache(cache: float | str | FeatureCache | None) -> FeatureCache | None:
    """A number as the cache of that turn, a text as `FeatureCache.from_text` reads it."""
    if cache is None or isinstance(cache, FeatureCache):
        return cache
    return FeatureCache.from_text(cache) if isinstance(cache, str) else FeatureCache(cache)


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
