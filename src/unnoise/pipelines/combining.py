"""How the network's answers with and without a prompt become one: guidance as values that go inside one another.

    Interval(Rescaled(Projected(7.5), 0.7), 0.28, 5.42)

reads from the inside out: two answers are joined by a projected difference, the result is given back the spread of the
answer with the prompt, and all of it happens only at noise levels between 0.28 and 5.42.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import Declared, Finite, Share, as_declared
from unnoise.process import Level, Prediction


@dataclass(frozen=True, eq=False)
class Asked:
    """Where the network was asked: the sample, its level, and what an answer means there."""

    x: Tensor
    level: Level
    prediction: Prediction

    def x0(self, output: Tensor) -> Tensor:
        """The clean sample that an answer stands for."""
        return self.prediction.sample(output, self.x, self.level)

    def output_change(self, of_x0: Tensor) -> Tensor:
        """The change of the answer that changes its clean sample so: x_0 = b x + c F, hence divided by c."""
        a, s = self.level.expand("alpha", self.x), self.level.expand("sigma", self.x)
        return of_x0 / self.prediction.of_sample(a, s)[1]


class Guidance(Declared, abc.ABC):
    """A way to heed the prompt `scale` times. Frozen values; what a run remembers is handed in.

    Answers are (batch, channels, height, width), as the network gives them.
    """

    example = "Scale(7.5)"
    scale: float

    def heeds(self, asked: Asked | None) -> bool:
        """Whether two answers are joined here; else the one with the prompt stands, and the other is not computed."""
        return True

    @abc.abstractmethod
    def combine(self, without: Tensor, heeding: Tensor, asked: Asked | None, memory: list[Tensor]) -> Tensor:
        """One answer from those without and with the prompt.

        memory: empty at the start of a run, the same list at each look of it.
        """

    @abc.abstractmethod
    def words(self) -> tuple[str, ...]:
        """What lies around the plain scale, the innermost first; see `to_text`."""


@dataclass(frozen=True)
class Scale(Guidance):
    """Classifier-free guidance: without + scale (heeding - without) (Ho & Salimans 2022, eq. 6, scale = 1 + w)."""

    scale: Finite

    def combine(self, without: Tensor, heeding: Tensor, asked: Asked | None, memory: list[Tensor]) -> Tensor:
        """The line through both answers, at `scale`."""
        return torch.lerp(without, heeding, float(self.scale))

    def words(self) -> tuple[str, ...]:
        """Nothing."""
        return ()


@dataclass(frozen=True)
class Projected(Guidance):
    """Adaptive projected guidance: only what differs in kind is strengthened, so that colours do not burn.

    With D the clean sample of an answer and d = D_heeding - D_without: d <- d + momentum d_before, then
    d <- d min(1, limit / |d|), then D = D_heeding + (scale - 1) (d_orthogonal + parallel d_parallel), the parts
    meant against D_heeding (Sadat et al. 2024, eq. 6-9, alg. 1). parallel 1 with no limit and no momentum is `Scale`.

    parallel: 0 to 1. limit: of the length of d, 0 for none; 15 in the paper for Stable Diffusion XL, 7.5 for 2.1.
    momentum: above -1, below 1; the paper's is about -0.5.
    """

    scale: Finite
    parallel: Share = 0.0
    limit: Annotated[float, (0.0, 1e6)] = 15.0
    momentum: Annotated[float, (-1.0, 1.0, "both")] = -0.5

    def combine(self, without: Tensor, heeding: Tensor, asked: Asked | None, memory: list[Tensor]) -> Tensor:
        """The answer whose clean sample is as above."""
        asked = _known(asked)
        clean = asked.x0(heeding).float()
        change = clean - asked.x0(without).float()
        if memory and self.momentum:
            change = change + self.momentum * memory[0]
        memory[:] = [change]
        if self.limit:
            change = change * (self.limit / _length(change)).clamp(max=1.0)
        direction = clean / _length(clean)
        along = (change * direction).sum(dim=(1, 2, 3), keepdim=True) * direction
        moved = (float(self.scale) - 1.0) * (change - along + self.parallel * along)
        return heeding + asked.output_change(moved).to(heeding.dtype)

    def words(self) -> tuple[str, ...]:
        """Its three numbers."""
        return (f"projected {self.parallel} {self.limit} {self.momentum}",)


@dataclass(frozen=True)
class Rescaled(Guidance):
    """The guided answer with the spread of the one that heeds: g (share s_heeding / s_g + 1 - share).

    Strong guidance widens an answer and overexposes the picture; the standard deviations s are of each sample, over
    all its numbers (Lin et al. 2024, eq. 14-16, share = phi, there 0.7).
    """

    inner: Guidance
    share: Share = 0.7

    @property
    def scale(self) -> float:  # type: ignore[override]
        """Of the guidance inside."""
        return self.inner.scale

    def heeds(self, asked: Asked | None) -> bool:
        """Where the guidance inside does."""
        return self.inner.heeds(asked)

    def combine(self, without: Tensor, heeding: Tensor, asked: Asked | None, memory: list[Tensor]) -> Tensor:
        """The inner answer, narrowed."""
        made = self.inner.combine(without, heeding, asked, memory)
        spread, wanted = (answer.float().std(dim=(1, 2, 3), keepdim=True) for answer in (made, heeding))
        factor = self.share * wanted / spread.clamp(min=1e-12) + (1.0 - self.share)
        return (made * factor).to(made.dtype)

    def words(self) -> tuple[str, ...]:
        """The inner ones, and the share."""
        return (*self.inner.words(), f"rescale {self.share}")


@dataclass(frozen=True)
class Interval(Guidance):
    """Guidance at noise levels low < sigma / alpha <= high, and nowhere else (Kynkaanniemi et al. 2024, eq. 4).

    At high levels guidance narrows what is drawn, at low ones it changes nothing; skipping both is better and
    faster, for there the network is asked once. In the paper 0.28 to 5.42 for Stable Diffusion XL.
    """

    inner: Guidance
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        as_declared(self, "the guidance interval's ")
        if not 0.0 <= self.low < self.high:
            raise InputError(
                f"the guidance interval is {self.low} to {self.high}; give 0 <= low < high, for example 0.28 to 5.42."
            )

    @property
    def scale(self) -> float:  # type: ignore[override]
        """Of the guidance inside."""
        return self.inner.scale

    def heeds(self, asked: Asked | None) -> bool:
        """Within the interval."""
        asked = _known(asked)
        return self.low < float(asked.level.ratio) <= self.high and self.inner.heeds(asked)

    def combine(self, without: Tensor, heeding: Tensor, asked: Asked | None, memory: list[Tensor]) -> Tensor:
        """The inner answer."""
        return self.inner.combine(without, heeding, asked, memory)

    def words(self) -> tuple[str, ...]:
        """The inner ones, and the ends."""
        return (*self.inner.words(), f"interval {self.low} {self.high}")


def to_text(guidance: Guidance) -> str:
    """What lies around the plain scale, for a recipe: "projected 0.0 15.0 -0.5, rescale 0.7"; "" for none."""
    return ", ".join(guidance.words())


def from_text(scale: float, text: str) -> Guidance:
    """The inverse of `to_text`. Raises InputError for other words."""
    made: Guidance = Scale(scale)
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, *numbers = part.split()
        if name not in _WORDS:
            raise InputError(f"'{name}' is no kind of guidance; these are {', '.join(_WORDS)}.")
        around, most = _WORDS[name]
        made = around(made, *_numbers(part, numbers, most))
    return made


def _projected(inner: Guidance, *numbers: float) -> Guidance:
    if not isinstance(inner, Scale):
        raise InputError(
            "projected guidance joins the two answers itself; name it first: 'projected, rescale'."
        )
    return Projected(inner.scale, *numbers)


_WORDS: dict[str, tuple[Callable[..., Guidance], int]] = {
    "projected": (_projected, 3),
    "rescale": (Rescaled, 1),
    "interval": (Interval, 2),
}
"""What is made around a guidance, and the most numbers that it takes."""


def _numbers(part: str, words: Sequence[str], most: int) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [math.nan]
    if len(values) > most or any(map(math.isnan, values)):
        raise InputError(f"'{part}' makes no sense as guidance; an example is 'interval 0.28 5.42'.")
    return values


def _length(x: Tensor) -> Tensor:
    """(batch, 1, 1, 1): the Euclidean length of each sample, never 0."""
    length: Tensor = torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
    return length.clamp(min=1e-12)


def _known(asked: Asked | None) -> Asked:
    if asked is None:
        raise InputError(
            "this guidance depends on the noise level; give asked=Asked(x, level, prediction), as pipelines do."
        )
    return asked
