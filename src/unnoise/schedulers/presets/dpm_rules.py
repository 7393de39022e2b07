"""diffusers' multistep classes: DPM-Solver (++), single-step DPM-Solver, DEIS, UniPC, with their switches of order.

Coefficients are computed as there, in the precision of the path, so that what float32 loses is lost here too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unnoise.schedulers.moves import Look, Move, Moves, Unknown, difference, joined
from unnoise.schedulers.presets.path import Path
from unnoise.schedulers.presets.preset import Rule
from unnoise.schedulers.presets.sigma_rules import history

Algorithm = Literal["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"]
Kind = Literal["midpoint", "heun"]


def terms(algorithm: str, kind: str, path: Path, i: int, to: int) -> tuple[Tensor, ...]:
    """(keep, of m, of D1, of D2, of z) of the step from level i to another."""
    alpha, sigma, lam = path.alpha, path.sigma, path.lam
    a, s, h = alpha[to], sigma[to], lam[to] - lam[i]
    zero = torch.zeros_like(h)
    middle = kind == "midpoint"
    if algorithm == "dpmsolver++":
        mass = -(a * ((-h).exp() - 1.0))
        slope = 0.5 * mass if middle else a * (((-h).exp() - 1.0) / h + 1.0)
        return s / sigma[i], mass, slope, -(a * (((-h).exp() - 1.0 + h) / h**2 - 0.5)), zero
    if algorithm == "dpmsolver":
        mass = -(s * (h.exp() - 1.0))
        slope = 0.5 * mass if middle else -(s * ((h.exp() - 1.0) / h - 1.0))
        return a / alpha[i], mass, slope, -(s * ((h.exp() - 1.0 - h) / h**2 - 0.5)), zero
    if algorithm == "sde-dpmsolver++":
        gone = 1.0 - (-2.0 * h).exp()
        slope = 0.5 * a * gone if middle else a * (gone / (-2.0 * h) + 1.0)
        third = a * ((gone - 2.0 * h) / (2.0 * h) ** 2 - 0.5)  # the sign of 0.5 is theirs, and wrong
        return s / sigma[i] * (-h).exp(), a * gone, slope, third, s * gone.sqrt()
    mass = -2.0 * (s * (h.exp() - 1.0))
    slope = 0.5 * mass if middle else -2.0 * (s * ((h.exp() - 1.0) / h - 1.0))
    return a / alpha[i], mass, slope, zero, s * ((2.0 * h).exp() - 1.0).sqrt()


@dataclass(frozen=True)
class DPMMultistep(Rule):
    """DPMSolverMultistepScheduler. A path that ends at 0 makes the last step first order."""

    order: int
    algorithm: Algorithm
    kind: Kind
    lower_order_final: bool
    euler_at_final: bool

    @property
    def stochastic(self) -> bool:
        """For the two sde- algorithms."""
        return self.algorithm.startswith("sde")

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move."""
        left = path.steps - i
        few = self.lower_order_final and path.steps < 15
        order = min(self.order, known + 1)
        if left == 1 and (self.euler_at_final or few or path.ends_clean):
            order = 1
        elif left == 2 and few:
            order = min(order, 2)
        kind = "heun" if order == 3 else self.kind
        keep, *parts, fresh = terms(self.algorithm, kind, path, i, i + 1)
        factors = history(path.lam, i, tuple(parts[:order]))
        unknown: Unknown = "x0" if self.algorithm.endswith("++") else "noise"
        return Look(path.levels[i]), linear(keep, factors, unknown, fresh)


@dataclass(frozen=True)
class DPMSinglestep(Rule):
    """DPMSolverSinglestepScheduler: blocks of one, two, three looks, each from the block's first sample."""

    order: int
    algorithm: Algorithm
    kind: Kind
    lower_order_final: bool

    def _orders(self, path: Path) -> list[int]:
        """The place of each step in its block."""
        orders = [i % self.order + 1 for i in range(path.steps)]
        if path.ends_clean or (self.lower_order_final and orders[-1] == self.order):
            orders[-1] = 1
        return orders

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look; the move is told from where the sample stands, though it begins at the block's start."""
        order = min(self._orders(path)[i], known + 1)
        unknown: Unknown = "x0" if self.algorithm.endswith("++") else "noise"
        keep, factors = self._from_block(path, i, order)
        if order > 1:
            before, told = self._from_block(path, i - 1, order - 1)
            ratio = keep / before
            factors = (factors[0], *(f - ratio * t for f, t in zip(factors[1:], told, strict=True)))
            keep = ratio
        return Look(path.levels[i]), linear(keep, factors, unknown)

    def _from_block(self, path: Path, i: int, order: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(keep, factors latest first) of the step that ends at level i + 1, from the block's first sample."""
        lam, begin = path.lam, i + 1 - order
        kind = "heun" if order == 3 else self.kind  # the third-order midpoint has the heun slope
        keep, mass, slope, third, _ = terms(self.algorithm, kind, path, begin, i + 1)
        if order == 1:
            return keep, (mass,)
        h = lam[i + 1] - lam[begin]
        r0 = (lam[i] - lam[begin]) / h
        if order == 2:
            return keep, (slope / r0, mass - slope / r0)
        r1 = (lam[i - 1] - lam[begin]) / h
        if self.kind == "midpoint":
            return keep, (slope / r0, torch.zeros_like(r0), mass - slope / r0)
        # D1 = (r0 d - r1 e) / (r0 - r1), D2 = 2 (e - d) / (r0 - r1), d = (m1 - m2) / r1, e = (m0 - m2) / r0
        of_e = (2.0 * third - r1 * slope) / (r0 - r1)
        of_d = (r0 * slope - 2.0 * third) / (r0 - r1)
        return keep, (of_e / r0, of_d / r1, mass - of_e / r0 - of_d / r1)


@dataclass(frozen=True)
class DEISRule(Rule):
    """DEISMultistepScheduler: polynomials in ln w, integrated by formulas that cancel in float32."""

    order: int
    lower_order_final: bool

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move."""
        left = path.steps - i
        order = min(self.order, known + 1)
        if self.lower_order_final and path.steps < 15:
            order = min(order, left)
        keep = path.alpha[i + 1] / path.alpha[i]
        if order == 1:
            h = path.lam[i + 1] - path.lam[i]
            return Look(path.levels[i]), linear(keep, (-(path.sigma[i + 1] * (h.exp() - 1.0)),), "noise")
        rho = path.sigma / path.alpha
        nodes = [rho[i - k] for k in range(order)]
        integral = _second if order == 2 else _third
        turned = [nodes[k:] + nodes[:k] for k in range(order)]
        masses = (integral(rho[i + 1], *each) - integral(rho[i], *each) for each in turned)
        return Look(path.levels[i]), linear(keep, tuple(path.alpha[i + 1] * mass for mass in masses), "noise")


def _second(t: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Antiderivative of the line in ln t that is 1 at b and 0 at c."""
    at, one, two = map(_log, (t, b, c))
    return t * (-two + at - 1) / (one - two)


def _third(t: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Antiderivative of the parabola in ln t that is 1 at b and 0 at c and d."""
    at, one, two, three = map(_log, (t, b, c, d))
    whole = t * (two * (three - at + 1) - three * at + three + at**2 - 2 * at + 2)
    return whole / ((one - two) * (one - three))


def _log(value: Tensor) -> Tensor:
    """NumPy's logarithm, whose last bit differs from torch's; the cancellation above shows it."""
    return torch.as_tensor(np.log(value.numpy()))


@dataclass(frozen=True)
class UniPCRule(Rule):
    """UniPCMultistepScheduler: predict, look, correct the last step with the new look, predict on.

    The correction is told as a change of the predicted sample. bh: which function B(h). without: steps whose
    result is not corrected.
    """

    order: int = 2
    bh: Literal["bh1", "bh2"] = "bh2"
    data: bool = True
    lower_order_final: bool = True
    without: tuple[int, ...] = ()

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, a correction from the second step on, a prediction."""
        unknown: Unknown = "x0" if self.data else "noise"
        look = Look(path.levels[i])
        keep, factors = self._factors(path, i, self._order(path, i, known), corrected=False)
        forward = linear(keep, factors, unknown)
        if known == 0 or i - 1 in self.without:
            return look, forward
        before = self._order(path, i - 1, known - 1)
        _, predicted = self._factors(path, i - 1, before, corrected=False)
        _, corrected = self._factors(path, i - 1, before, corrected=True)
        change = linear(torch.ones(()), difference(corrected, predicted), unknown)
        return look, *joined(change, forward)

    def _order(self, path: Path, i: int, known: int) -> int:
        order = min(self.order, path.steps - i) if self.lower_order_final else self.order
        return min(order, known + 1)

    def _factors(self, path: Path, i: int, order: int, corrected: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(keep, factors latest first); with the look at the step's end in front where `corrected`."""
        lam = path.lam
        h = lam[i + 1] - lam[i]
        hh = -h if self.data else h
        mass = torch.expm1(hh)
        size = hh if self.bh == "bh1" else mass
        scale = path.alpha[i + 1] if self.data else path.sigma[i + 1]
        keep = path.sigma[i + 1] / path.sigma[i] if self.data else path.alpha[i + 1] / path.alpha[i]
        rks = torch.stack([*((lam[i - k] - lam[i]) / h for k in range(1, order)), torch.ones_like(h)])
        rhos = self._rhos(rks, hh, mass, size, order, corrected)
        parts = [-scale * size * rho / rk for rho, rk in zip(rhos, rks, strict=False)]
        past, ahead = parts[: order - 1], parts[order - 1 :]
        latest = -scale * mass - sum(parts)
        return keep, (*ahead, latest, *past)

    def _rhos(
        self, rks: Tensor, hh: Tensor, mass: Tensor, size: Tensor, order: int, corrected: bool
    ) -> list[Tensor]:
        if order == (1 if corrected else 2):
            return [torch.full_like(hh, 0.5)]
        if not corrected and order == 1:
            return []
        phi, factorial = mass / hh - 1, 1
        rows, right = [], []
        for k in range(1, order + 1):
            rows.append(rks ** (k - 1))
            right.append(phi * factorial / size)
            factorial *= k + 1
            phi = phi / hh - 1 / factorial
        matrix, b = torch.stack(rows), torch.stack(right)
        if not corrected:
            matrix, b = matrix[:-1, :-1], b[:-1]
        return list(torch.linalg.solve(matrix, b))


def linear(keep: Tensor, factors: tuple[Tensor, ...], unknown: Unknown, fresh: Tensor | None = None) -> Move:
    """A move with these numbers; what is not finite at the clean end counts as nothing."""
    noise = 0.0 if fresh is None else float(fresh)
    return Move(float(keep), tuple(map(float, factors)), unknown, noise if math.isfinite(noise) else 0.0)
