"""diffusers' SASolverScheduler: stochastic Adams, predicted and corrected, in float32 formulas that cancel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import mul

import torch
from torch import Tensor

from unnoise.schedulers.moves import Look, Moves, Unknown, difference, joined
from unnoise.schedulers.presets.dpm_rules import linear
from unnoise.schedulers.presets.path import Path
from unnoise.schedulers.presets.preset import Rule

# Of the antiderivative of u^k e^u, beside e^u.
_PARTS: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.ones_like,
    lambda u: u - 1,
    lambda u: u**2 - 2 * u + 2,
    lambda u: u**3 - 3 * u**2 + 6 * u - 6,
)


def middle(time: float) -> float:
    """Their tau where none is given: 1 between times 200 and 800 of a thousand, else 0."""
    return 1.0 if 200 <= time <= 800 else 0.0


@dataclass(frozen=True)
class SARule(Rule):
    """Polynomials in lambda of x0 (`data`) or of the noise, the kernel that of strength tau(time).

    predictor, corrector: orders, 1 to 4; of order 2 in x0 the integral of the slope is replaced by a shorter one.
    tau: of the time, counted to a thousand, at which a step begins.
    """

    predictor: int
    corrector: int
    data: bool
    lower_order_final: bool
    tau: Callable[[float], float]

    @property
    def stochastic(self) -> bool:
        """Unless tau is 0 everywhere."""
        return any(self.tau(time) > 0.0 for time in range(1000))

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, a correction from the second step on, a prediction."""
        unknown: Unknown = "x0" if self.data else "noise"
        keep, factors, fresh = self._factors(path, i, self._order(path, i, known), i)
        forward = linear(keep, factors, unknown, fresh)
        look = Look(path.levels[i])
        if known == 0:
            return look, forward
        _, predicted, _ = self._factors(path, i - 1, self._order(path, i - 1, known - 1), i - 1)
        _, corrected, _ = self._factors(path, i - 1, self._order(path, i - 1, known - 1, more=1), i)
        change = difference(*([each.double() for each in factors] for factors in (corrected, predicted)))
        return look, *joined(linear(torch.ones(()), change, unknown), forward)

    def _order(self, path: Path, i: int, known: int, more: int = 0) -> int:
        """The predictor's at step i, or with one look `more` the corrector's of that step."""
        order = self.corrector if more else self.predictor
        left = path.steps - i + more if self.lower_order_final else order
        return min(order, left, known + 1 + more)

    def _factors(
        self, path: Path, i: int, order: int, latest: int
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """(keep, factors latest first, of z) of the step from level i by `order` looks, the last at level `latest`."""
        time = float(path.levels[i].time)
        tau = self.tau(math.trunc(time * 1000 + 0.5) if path.kind == "flow" else time)
        lam, a, s = path.lam, path.alpha[i + 1], path.sigma[i + 1]
        begin, end = lam[i], lam[i + 1]
        h, kernel = end - begin, 1 + tau**2
        found = _integrals([lam[latest - k] for k in range(order)], begin, end, kernel, self.data)
        if self.data and order == 2:
            shorter = h**2 / 2 - (h * kernel - 1 + (kernel * (-h)).exp()) / kernel**2
            if latest > i:
                shorter = h / 2 - (h * kernel - 1 + (kernel * (-h)).exp()) / (kernel**2 * h)
            else:
                shorter = shorter / (begin - lam[i - 1])
            change = (kernel * end).exp() * shorter
            found = [found[0] + change, found[1] - change]
        if self.data:
            size = kernel * s * (-(tau**2) * end).exp()
            fresh = s * (1 - (-2 * tau**2 * h).exp()).sqrt()
            return (-(tau**2) * h).exp() * (s / path.sigma[i]), tuple(size * each for each in found), fresh
        fresh = tau * s * ((2 * h).exp() - 1).sqrt()
        return a / path.alpha[i], tuple(-kernel * a * each for each in found), fresh


def _integrals(nodes: list[Tensor], begin: Tensor, end: Tensor, kernel: float, data: bool) -> list[Tensor]:
    """Of each node's Lagrange polynomial times the kernel, power by power: it cancels, and so it does there."""
    order = len(nodes)
    powers = [_power(k, begin, end, kernel, data) for k in reversed(range(order))]
    found = []
    for k, node in enumerate(nodes):
        others = [*nodes[:k], *nodes[k + 1 :]]
        below = reduce(mul, [node - other for other in others], torch.ones_like(node))
        signs = [
            (-1) ** j * sum((reduce(mul, c) for c in combinations(others, j)), 0.0 * node)
            for j in range(1, order)
        ]
        parts = [1 / below, *(part / below for part in signs)]
        found.append(sum((p * power for p, power in zip(parts, powers, strict=True)), 0.0 * node))
    return found


def _power(k: int, begin: Tensor, end: Tensor, kernel: float, data: bool) -> Tensor:
    """Integral of u^k e^(kernel u) from begin to end; for the noise of u^k e^-u."""
    part = _PARTS[k]
    if data:
        b, e = kernel * begin, kernel * end
        return e.exp() * (part(e) - part(b) * (-(e - b)).exp()) / kernel ** (k + 1)
    sign = float((-1) ** k)
    return (-end).exp() * (sign * part(-begin) * (end - begin).exp() - sign * part(-end))
