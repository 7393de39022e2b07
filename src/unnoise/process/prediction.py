"""What a network predicts. One row of numbers for each kind; one place converts."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import Declared, Positive, choice
from unnoise.process.level import Factor, Level, combine

Pair = tuple[Factor, Factor]


class Prediction(Declared, abc.ABC):
    """A linear map between the network's output F and the pair (x_0, eps), given x = alpha x_0 + sigma eps.

    Each kind is three pairs of factors at a level with signal a and noise s:
    `of_target` gives F = p x_0 + q eps, `of_sample` gives x_0 = b x + c F, `of_noise` gives eps = d x + e F.
    """

    name: str
    needs_signal = False  # whether x_0 is undefined where alpha is 0

    @abc.abstractmethod
    def of_target(self, a: Factor, s: Factor) -> Pair:
        """Factors (p, q) of F = p x_0 + q eps."""

    @abc.abstractmethod
    def of_sample(self, a: Factor, s: Factor) -> Pair:
        """Factors (b, c) of x_0 = b x + c F."""

    @abc.abstractmethod
    def of_noise(self, a: Factor, s: Factor) -> Pair:
        """Factors (d, e) of eps = d x + e F."""

    def input_scale(self, level: Level) -> Factor:
        """Factor of x before it enters the network; 1 but for EDM."""
        return 1.0

    def target(self, x0: Tensor, noise: Tensor, level: Level) -> Tensor:
        """The output F that training asks for; shapes (batch, ...)."""
        p, q = self.of_target(level.expand("alpha", x0), level.expand("sigma", x0))
        return combine(x0, p, noise, q)

    def sample(self, output: Tensor, x: Tensor, level: Level) -> Tensor:
        """x_0 from the network's output at x; shapes (batch, ...).

        Raises InputError where x_0 cannot be known from such an output because x holds no signal.
        """
        b, c = self.of_sample(*self._numbers(x, level))
        return combine(x, b, output, c)

    def noise(self, output: Tensor, x: Tensor, level: Level) -> Tensor:
        """The noise residual eps from the network's output at x; 0 where it is undefined because sigma is 0."""
        d, e = self.of_noise(level.expand("alpha", x), level.expand("sigma", x))
        return combine(x, d, output, e)

    def flow(self, output: Tensor, x: Tensor, level: Level) -> Tensor:
        """Eps - x_0 from the network's output at x, in one pass. Raises as `sample`."""
        a, s = self._numbers(x, level)
        (b, c), (d, e) = self.of_sample(a, s), self.of_noise(a, s)
        return combine(x, d - b, output, e - c)

    def velocity(self, output: Tensor, x: Tensor, level: Level) -> Tensor:
        """(alpha eps - sigma x_0) / sqrt(alpha^2 + sigma^2) from the output at x, in one pass. Raises as `sample`."""
        a, s = self._numbers(x, level)
        (b, c), (d, e) = self.of_sample(a, s), self.of_noise(a, s)
        r = (a * a + s * s) ** 0.5
        return combine(x, (a * d - s * b) / r, output, (a * e - s * c) / r)

    def _numbers(self, x: Tensor, level: Level) -> Pair:
        """Alpha and sigma ready to multiply x, where x_0 can be known at all."""
        lost = level.alpha == 0.0
        if self.needs_signal and (bool(lost.any()) if isinstance(lost, Tensor) else lost):
            raise InputError(
                f"{self.name} prediction says nothing of the picture where alpha is 0 "
                "(zero terminal SNR, flow time 1); use velocity, flow or sample prediction, or start lower."
            )
        return level.expand("alpha", x), level.expand("sigma", x)

    def estimate(self, output: Tensor, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """Both: (x_0, eps)."""
        return self.sample(output, x, level), self.noise(output, x, level)


@dataclass(frozen=True)
class Noise(Prediction):
    """F = eps (Ho et al. 2020)."""

    name = "noise"
    needs_signal = True

    def of_target(self, a: Factor, s: Factor) -> Pair:
        """F = eps."""
        return 0.0, 1.0

    def of_sample(self, a: Factor, s: Factor) -> Pair:
        """x_0 = (x - s F) / a."""
        return 1.0 / a, -s / a

    def of_noise(self, a: Factor, s: Factor) -> Pair:
        """Eps = F."""
        return 0.0, 1.0


@dataclass(frozen=True)
class Sample(Prediction):
    """F = x_0."""

    name = "sample"

    def of_target(self, a: Factor, s: Factor) -> Pair:
        """F = x_0."""
        return 1.0, 0.0

    def of_sample(self, a: Factor, s: Factor) -> Pair:
        """x_0 = F."""
        return 0.0, 1.0

    def of_noise(self, a: Factor, s: Factor) -> Pair:
        """Eps = (x - a F) / s."""
        return inverse(s), -a * inverse(s)


@dataclass(frozen=True)
class Velocity(Prediction):
    """F = (a eps - s x_0) / r with r^2 = a^2 + s^2, which is 1 for variance preserving (Salimans & Ho 2022, app. D)."""

    name = "velocity"

    def of_target(self, a: Factor, s: Factor) -> Pair:
        """F = (a eps - s x_0) / r."""
        r = (a * a + s * s) ** 0.5
        return -s / r, a / r

    def of_sample(self, a: Factor, s: Factor) -> Pair:
        """x_0 = a x / r^2 - s F / r."""
        square = a * a + s * s
        return a / square, -s / square**0.5

    def of_noise(self, a: Factor, s: Factor) -> Pair:
        """Eps = s x / r^2 + a F / r."""
        square = a * a + s * s
        return s / square, a / square**0.5

    def velocity(self, output: Tensor, x: Tensor, level: Level) -> Tensor:
        """The output itself."""
        return output


@dataclass(frozen=True)
class FlowVelocity(Prediction):
    """F = eps - x_0, the speed along the straight line (Lipman et al. 2023)."""

    name = "flow"

    def of_target(self, a: Factor, s: Factor) -> Pair:
        """F = eps - x_0."""
        return -1.0, 1.0

    def of_sample(self, a: Factor, s: Factor) -> Pair:
        """x_0 = (x - s F) / (a + s)."""
        return 1.0 / (a + s), -s / (a + s)

    def of_noise(self, a: Factor, s: Factor) -> Pair:
        """Eps = (x + a F) / (a + s)."""
        return 1.0 / (a + s), a / (a + s)

    def flow(self, output: Tensor, x: Tensor, level: Level) -> Tensor:
        """The output itself."""
        return output


@dataclass(frozen=True)
class Preconditioned(Prediction):
    """EDM's F: x_0 = c_skip u + c_out F(c_in u) with u = x / a (Karras et al. 2022, tab. 1).

    sigma_data: standard deviation of the data, d below; with R^2 = s^2 + a^2 d^2 every factor is finite at
    both ends.
    """

    sigma_data: Positive = 0.5
    name = "edm"

    def of_target(self, a: Factor, s: Factor) -> Pair:
        """F = (s x_0 / d - a d eps) / R."""
        r, d = self._radius(a, s), self.sigma_data
        return s / (d * r), -a * d / r

    def of_sample(self, a: Factor, s: Factor) -> Pair:
        """x_0 = a d^2 x / R^2 + s d F / R."""
        r, d = self._radius(a, s), self.sigma_data
        return a * d * d / (r * r), s * d / r

    def of_noise(self, a: Factor, s: Factor) -> Pair:
        """Eps = s x / R^2 - a d F / R."""
        r = self._radius(a, s)
        return s / (r * r), -a * self.sigma_data / r

    def input_scale(self, level: Level) -> Factor:
        """1 / R: unit variance at every level."""
        return 1.0 / self._radius(level.alpha, level.sigma)

    def _radius(self, a: Factor, s: Factor) -> Factor:
        return (s * s + a * a * self.sigma_data**2) ** 0.5


@dataclass(frozen=True)
class Score(Prediction):
    """F = -eps / s, whose mean given x is grad log p_t(x) (Song et al. 2021b)."""

    name = "score"
    needs_signal = True

    def of_target(self, a: Factor, s: Factor) -> Pair:
        """F = -eps / s; 0 where s is 0."""
        return 0.0, -inverse(s)

    def of_sample(self, a: Factor, s: Factor) -> Pair:
        """x_0 = (x + s^2 F) / a."""
        return 1.0 / a, s * s / a

    def of_noise(self, a: Factor, s: Factor) -> Pair:
        """Eps = -s F."""
        return 0.0, -s


def inverse(s: Factor) -> Factor:
    """1 / s, and 0 where s is 0: without noise the residual is none."""
    if isinstance(s, Tensor):
        return torch.where(s == 0.0, 0.0, 1.0 / s)
    return 1.0 / s if s != 0.0 else 0.0


_KINDS: dict[str, type[Prediction]] = {
    "noise": Noise,
    "sample": Sample,
    "velocity": Velocity,
    "flow": FlowVelocity,
    "edm": Preconditioned,
    "score": Score,
}

NAMES = tuple(_KINDS)
"""The words that `get` knows."""


def get(prediction: str | Prediction) -> Prediction:
    """The kind of this name ("edm" with sigma_data 0.5); an object is returned as it is.

    Raises InputError for an unknown name.
    """
    if isinstance(prediction, Prediction):
        return prediction
    choice("prediction", prediction, NAMES)
    return _KINDS[prediction]()
