"""Steps in the ratio sigma: Euler, ancestral, Heun, DPM-Solver-2, linear multistep.

k-diffusion's samplers and diffusers' classes of the same names take the same steps; they differ in precision
and in the levels. With u = x / alpha, du = eps dw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from unnoise.process import Level
from unnoise.schedulers.moves import Look, Move, Moves
from unnoise.schedulers.presets.path import Path
from unnoise.schedulers.presets.preset import Noisy, Rule
from unnoise.schedulers.quadrature import weights


def ancestral(now: Tensor, to: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """(down, up) of k-diffusion: down^2 + up^2 = to^2, up = eta to sqrt(1 - (to / now)^2), at most `to`."""
    if eta == 0.0:
        return to, torch.zeros_like(to)
    up = torch.minimum(to, eta * (to**2 * (now**2 - to**2) / now**2) ** 0.5)
    return (to**2 - up**2) ** 0.5, up


@dataclass(frozen=True)
class Euler(Noisy):
    """U + eps (down - w) + up z; eta 0 is the ODE."""

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move."""
        now, to = path.levels[i], path.levels[i + 1]
        down, up = ancestral(path.w[i], path.w[i + 1], self.eta)
        return Look(now), path.move(now, to, (down - path.w[i],), "noise", up)


@dataclass(frozen=True)
class HeunRule(Rule):
    """Euler, then the average of both slopes; the jump to zero is Euler's."""

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Two looks, at both ends of the step."""
        now, to = path.levels[i], path.levels[i + 1]
        h = path.w[i + 1] - path.w[i]
        first = path.move(now, to, (h,), "noise", settles=float(to.sigma) == 0.0)
        if to.sigma == 0.0:
            return Look(now), first
        return Look(now), first, Look(to), path.move(now, to, (h / 2, h / 2), "noise")


@dataclass(frozen=True)
class MidpointRule(Noisy):
    """DPM-Solver-2: to the geometric mean of w and down, then the whole step with the slope there."""

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Two looks; one for the jump to zero."""
        now, to = path.levels[i], path.levels[i + 1]
        w = path.w[i]
        down, up = ancestral(w, path.w[i + 1], self.eta)
        if float(down) == 0.0:
            return Look(now), path.move(now, to, (down - w,), "noise", up)
        middle = w.log().lerp(down.log(), 0.5).exp()
        between = path.level(float(middle))
        first = path.move(now, between, (middle - w,), "noise", settles=False)
        return Look(now), first, Look(between), path.move(now, to, (down - w,), "noise", up)


@dataclass(frozen=True)
class LMSRule(Rule):
    """Linear multistep in w by exact quadrature, of up to four looks.

    forgets: diffusers counts the order from the step's index and not from the history held, so that a picture
    entered in the middle loses coefficients until the history has filled.
    """

    forgets: bool = False

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move."""
        now, to = path.levels[i], path.levels[i + 1]
        order = min(4, (i if self.forgets else known) + 1)
        nodes = [_unscaled(path.w[i - j]) for j in range(order)]
        factors = weights("noise", "sigma", nodes, nodes[0], _unscaled(path.w[i + 1]))
        return Look(now), path.move(now, to, factors[: known + 1], "noise")


@dataclass(frozen=True)
class TwoStageRule(Noisy):
    """DPM-Solver++ 2S with ancestral noise, in terms of x0 (k-diffusion's dpmpp_2s_ancestral)."""

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Two looks; one for the jump to zero."""
        now, to = path.levels[i], path.levels[i + 1]
        w = path.w[i]
        down, up = ancestral(w, path.w[i + 1], self.eta)
        if float(down) == 0.0:
            return Look(now), path.move(now, to, (1.0 - down / w,), "x0", up, keep=down / w)
        h = w.log() - down.log()
        middle = (-(-w.log() + h / 2)).exp()
        between = path.level(float(middle))
        first = path.move(now, between, (-(-h / 2).expm1(),), "x0", settles=False, keep=middle / w)
        last = path.move(now, to, (-(-h).expm1(),), "x0", up, keep=down / w)
        return Look(now), first, Look(between), last


@dataclass(frozen=True)
class SDERule(Rule):
    """DPM-Solver++ (stochastic): two ancestral half steps of one pass (k-diffusion's dpmpp_sde)."""

    stochastic = True

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """Two looks, the second with fresh noise; one for the jump to zero."""
        now, to = path.levels[i], path.levels[i + 1]
        w, end = path.w[i], path.w[i + 1]
        if to.sigma == 0.0:
            return Look(now), path.move(now, to, (1.0,), "x0", keep=0.0)
        middle = (0.5 * (w.log() + end.log())).exp()
        between = path.level(float(middle))
        down, up = ancestral(w, middle, 1.0)
        first = path.move(now, between, (1.0 - down / w,), "x0", up, settles=False, keep=down / w)
        down, up = ancestral(w, end, 1.0)
        last = path.move(now, to, (1.0 - down / w, 0.0), "x0", up, keep=down / w)
        return Look(now), first, Look(between), last


@dataclass(frozen=True)
class MultistepRule(Noisy):
    """k-diffusion's dpmpp_2m, 2m_sde and 3m_sde: exponential multistep in x0 with the kernel of eta.

    The third order lacks the factor 2 of its last term, as there; kind says how the second is taken. log_sigma:
    on flow models ComfyUI extrapolates in -ln sigma, the others in ln((1 - sigma) / sigma).
    """

    order: int = 2
    kind: Literal["midpoint", "heun"] = "midpoint"
    log_sigma: bool = False

    def moves(self, path: Path, i: int, known: int) -> Moves:
        """One look, one move; the jump to zero is the last x0."""
        now, to = path.levels[i], path.levels[i + 1]
        if to.sigma == 0.0:
            return Look(now), path.move(now, to, (1.0,), "x0", keep=0.0)
        straight = self.log_sigma and path.kind == "flow"
        w = path.sigma if straight else path.w
        lam = -w.log()
        h = lam[i + 1] - lam[i]
        kernel = (1.0 + self.eta) * h
        mass = -(-kernel).expm1()
        second = 1.0 - mass / kernel
        slope = 0.5 * mass if self.kind == "midpoint" and self.order < 3 else second
        third = -(second / kernel - 0.5)
        order = min(self.order, known + 1)
        factors = history(lam, i, (mass, slope, third)[:order])
        fresh = w[i + 1] * (-(-2.0 * self.eta * h).expm1()) ** 0.5
        keep = w[i + 1] / w[i] * (-self.eta * h).exp()
        if straight:
            return Look(now), Move(float(keep), tuple(map(float, factors)), "x0", float(fresh))
        return Look(now), path.move(now, to, factors, "x0", fresh, keep=keep)


def history(lam: Tensor, i: int, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Factors of the looks, latest first, of parts[0] m + parts[1] D1 + parts[2] D2, divided differences in lam.

    D1 and D2 as the DPM-Solver papers' code has them: slopes towards the past, in units of the step.
    """
    if len(parts) == 1:
        return parts
    h = lam[i + 1] - lam[i]
    r0 = (lam[i] - lam[i - 1]) / h
    if len(parts) == 2:
        return parts[0] + parts[1] / r0, -parts[1] / r0
    r1 = (lam[i - 1] - lam[i - 2]) / h
    near = parts[1] * (1.0 + r0 / (r0 + r1)) + parts[2] / (r0 + r1)  # of (m0 - m1) / r0
    far = -parts[1] * r0 / (r0 + r1) - parts[2] / (r0 + r1)  # of (m1 - m2) / r1
    return parts[0] + near / r0, -near / r0 + far / r1, -far / r1


def _unscaled(w: Tensor) -> Level:
    return Level(0.0, 1.0, float(w))
