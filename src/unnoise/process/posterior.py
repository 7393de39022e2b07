"""The reverse step as a Gaussian: q(x_s | x_t, x_0), and the variances that a model may give it."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.limits import Declared, choice, typed
from unnoise.process.estimate import Estimate
from unnoise.process.level import Factor, Level, Scalar, as_tensor, expand, like


@dataclass(frozen=True)
class Transition:
    """The numbers of the posterior q(x_s | x_t, x_0) = N(of_x x_t + of_x0 x_0, small), s the less noisy level.

    From Bayes on x_t = (alpha_t / alpha_s) x_s + noise of variance `large` (Ho et al. 2020, eq. 7, for any
    two levels). `small` is DDPM's beta-tilde, `large` its beta. Everything comes from the difference of the
    log-SNRs, so that neither end divides by zero.
    """

    of_x: Scalar
    of_x0: Scalar
    small: Scalar
    large: Scalar


def transition(level: Level, to: Level) -> Transition:
    """The posterior's numbers between two levels, floats or tensors (batch,) as the levels are.

    Raises InputError where `to` is not less noisy than `level`.
    """
    for name, end in (("level", level), ("to", to)):
        typed(name, end, Level, "schedule.level(0.5)")
    now, then = as_tensor(level.log_snr), as_tensor(to.log_snr)
    if not bool((then > now).all()):
        raise InputError(
            f"a reverse step must lead to a less noisy level; it goes from log-SNR {now} to {then}."
        )
    fresh = -torch.expm1(now - then)  # share of x_t's noise that was added after s
    sigma, sigma_to = as_tensor(level.sigma), as_tensor(to.sigma)
    of_x = sigma_to / sigma * torch.exp(0.5 * (now - then))
    given = level.log_snr if isinstance(level.log_snr, Tensor) else to.log_snr
    numbers = (of_x, as_tensor(to.alpha) * fresh, sigma_to**2 * fresh, sigma**2 * fresh)
    return Transition(*(like(number, given) for number in numbers))


class PosteriorVariance(Declared, abc.ABC):
    """A rule for the variance of the reverse step."""

    @abc.abstractmethod
    def __call__(self, numbers: Transition, estimate: Estimate, floor: Scalar) -> Factor:
        """The variance, a float or a tensor that broadcasts to x.

        floor: the smallest variance whose logarithm is taken; `Diffuser.posterior` explains it.
        """


@dataclass(frozen=True)
class FixedSmall(PosteriorVariance):
    """beta-tilde, right where x_0 is certain (Ho et al. 2020, sec. 3.2)."""

    def __call__(self, numbers: Transition, estimate: Estimate, floor: Scalar) -> Factor:
        """`small`, at least the floor."""
        return expand(_at_least(numbers.small, floor), estimate.x)


@dataclass(frozen=True)
class FixedLarge(PosteriorVariance):
    """Beta, right for data that are standard normal numbers (Ho et al. 2020, sec. 3.2)."""

    def __call__(self, numbers: Transition, estimate: Estimate, floor: Scalar) -> Factor:
        """`large`."""
        return expand(numbers.large, estimate.x)


@dataclass(frozen=True)
class LearnedRange(PosteriorVariance):
    """The network chooses between the two on a logarithmic scale (Nichol & Dhariwal 2021, eq. 15)."""

    def __call__(self, numbers: Transition, estimate: Estimate, floor: Scalar) -> Tensor:
        """exp(f ln large + (1 - f) ln small) with f = (v + 1) / 2 and v the network's output."""
        if estimate.variance is None:
            raise InputError(
                "the variance is 'learned_range' but the network gave none; let it have twice the output "
                "channels, or use variance='fixed_small'."
            )
        part = (estimate.variance + 1.0) / 2.0
        large = _log(numbers.large, estimate.x)
        small = _log(_at_least(numbers.small, floor), estimate.x)
        return torch.exp(part * large + (1.0 - part) * small)


@dataclass(frozen=True)
class Optimal(PosteriorVariance):
    """The best variance where the spread of x_0 given x_t is known (Bao et al. 2022, thm. 1).

    x0_variance(x, level): Var(x_0 | x_t) of each element, as for data with a closed form.
    """

    x0_variance: Callable[[Tensor, Level], Factor]

    def __call__(self, numbers: Transition, estimate: Estimate, floor: Scalar) -> Factor:
        """Small + of_x0^2 Var(x_0 | x_t)."""
        spread = self.x0_variance(estimate.x, estimate.level)
        small, of_x0 = expand(numbers.small, estimate.x), expand(numbers.of_x0, estimate.x)
        return small + of_x0**2 * spread


def _at_least(value: Scalar, floor: Scalar) -> Scalar:
    if isinstance(value, Tensor) or isinstance(floor, Tensor):
        return torch.maximum(as_tensor(value), as_tensor(floor))
    return max(value, floor)


def _log(value: Scalar, x: Tensor) -> Factor:
    return expand(like(as_tensor(value).clamp(min=1e-300).log(), value), x)


_KINDS: dict[str, type[FixedSmall | FixedLarge | LearnedRange]] = {
    "fixed_small": FixedSmall,
    "fixed_large": FixedLarge,
    "learned_range": LearnedRange,
}

NAMES = tuple(_KINDS)
"""The words that `variance_rule` knows."""


def variance_rule(rule: str | PosteriorVariance) -> PosteriorVariance:
    """The rule of this name; an object is returned as it is. Raises InputError for an unknown name."""
    if isinstance(rule, PosteriorVariance):
        return rule
    choice("variance", rule, NAMES, ", or Optimal(...)")
    return _KINDS[rule]()
