"""The numbers of a step: polynomials through known estimates, integrated exactly along the reverse process.

In the scaled state y = x / N the reverse ODE is dy = U dm for each choice of the unknown U:

    U = noise   N = alpha             m = w = sigma / alpha
    U = x0      N = sigma             m = 1 / w
    U = flow    N = alpha + sigma     m = w / (1 + w)
    U = velocity  N = sqrt(alpha^2 + sigma^2)  m = atan(w)

so x_to = N_to / N_now x_now + N_to * integral of U dm. U is replaced by the polynomial through its known values,
in a variable v that is free: sigma (w), lambda (-ln w), flow (w / (1 + w)) or angle (atan w). At order 1 noise, x0 and
flow give the same step (DDIM) in any variable; from order 2 on the choice decides the size of the error. Velocity and
angle are the circle on which x = cos x_0 + sin eps turns: both its ends are finite, and for normal data of unit
variance the velocity is 0 everywhere.

With SDE noise of strength eta the kernel of x0 is sharper: N = sigma w^eta, m = w^-(1 + eta).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unnoise.errors import InputError
from unnoise.process import Level
from unnoise.schedulers.moves import Unknown

Variable = Literal["sigma", "lambda", "flow", "angle"]
Quadrature = Literal["exact", "midpoint", "bh1", "bh2"]
Numbers = NDArray[np.float64]

# 64 points: an exponential over twelve units of lambda is integrated to the last bit.
_POINTS = 64
_unit_gauss = lru_cache(maxsize=1)(np.polynomial.legendre.leggauss)


def coordinate(variable: Variable, ratio: float) -> float:
    """The variable's value at w = sigma / alpha; may be infinite."""
    if variable == "sigma":
        return ratio
    if variable == "lambda":
        return -math.log(ratio) if ratio > 0.0 else math.inf
    if variable == "angle":
        return math.atan(ratio)
    return ratio / (1.0 + ratio) if ratio < math.inf else 1.0


def from_coordinate(variable: Variable, value: float) -> float:
    """The inverse of `coordinate` inside its range."""
    if variable == "sigma":
        return value
    if variable == "angle":
        return math.tan(value)
    return math.exp(-value) if variable == "lambda" else value / (1.0 - value)


def keep(unknown: Unknown, now: Level, to: Level, eta: float = 0.0) -> float:
    """N_to / N_now, the factor of x."""
    kept = _scale(unknown, to) / _scale(unknown, now)
    return kept * (_ratio(to) / _ratio(now)) ** eta if unknown == "x0" else kept


def whole(unknown: Unknown, now: Level, to: Level, eta: float = 0.0) -> float:
    """N_to (m_to - m_now): the factor of U where U is constant. Infinite only for the noise, without signal."""
    alpha, sigma, ratio = float(to.alpha), float(to.sigma), _ratio(now)
    if unknown == "noise":
        return sigma - alpha * ratio
    if unknown == "flow":
        return sigma - (alpha + sigma) * coordinate("flow", ratio)
    if unknown == "velocity":
        return _scale("velocity", to) * (math.atan(_ratio(to)) - math.atan(ratio))
    out: float = alpha - sigma / ratio * (_ratio(to) / ratio) ** eta
    return out


def weights(
    unknown: Unknown,
    variable: Variable,
    nodes: Sequence[Level],
    now: Level,
    to: Level,
    eta: float = 0.0,
    rule: Quadrature = "exact",
) -> tuple[float, ...]:
    """Factors of U at the nodes (levels where it is known) for the step from `now` to `to`.

    Nodes at which the variable is infinite are not used (factor 0), and where the integral has no finite
    end in this variable only the first node is.

    rule: "midpoint" takes the polynomial at the middle of the step in the variable (DPM-Solver++ 2M). "bh1" and "bh2"
    are UniPC's B_1(h) = h and B_2(h) = e^h - 1 (Zhao et al. 2023, tab. 1): for two nodes as the midpoint rule, with
    the slope times the step in lambda, or that rule; from three on, UniPC's equations have the exact quadrature as
    their only solution.
    """
    if rule == "midpoint" or (rule == "bh2" and len(nodes) == 2):
        mass = whole(unknown, now, to, eta)
        return _middle(variable, nodes, now, to, mass, mass)
    if rule == "bh1" and len(nodes) == 2 and _ratio(now) not in (0.0, math.inf) and _ratio(to) > 0.0:
        mass = whole(unknown, now, to, eta)
        return _middle(variable, nodes, now, to, mass, _of_bh1(unknown, now, to, eta))
    places = [coordinate(variable, _ratio(node)) for node in nodes]
    finite = [place for place in places if math.isfinite(place)]
    ends = (places[0], coordinate(variable, _ratio(to)), _ratio(to))
    if len(finite) < 2 or not all(map(math.isfinite, ends)):
        return (whole(unknown, now, to, eta), *[0.0] * (len(nodes) - 1))
    if _ratio(to) == 0.0 and unknown == "x0":
        values = iter([float(to.alpha) * part for part in lagrange(finite, coordinate(variable, 0.0))])
    else:
        ratios, masses = _path(unknown, _ratio(now), to, eta)
        at = np.array([coordinate(variable, ratio) for ratio in ratios.tolist()])
        values = iter([float(basis @ masses) for basis in lagrange_array(finite, at)])
    return tuple(next(values) if math.isfinite(place) else 0.0 for place in places)


def _of_bh1(unknown: Unknown, now: Level, to: Level, eta: float) -> float:
    """The step in lambda times N_to dm / dlambda at its end."""
    height = math.log(_ratio(now) / _ratio(to))
    speed = {
        "x0": (1.0 + eta) * float(to.alpha),
        "noise": -float(to.sigma),
        "flow": -float(to.sigma) / (1.0 + _ratio(to)),
        "velocity": -_scale("velocity", to) * _ratio(to) / (1.0 + _ratio(to) ** 2),
    }[unknown]
    return speed * height


def _middle(
    variable: Variable, nodes: Sequence[Level], now: Level, to: Level, mass: float, of_slope: float
) -> tuple[float, ...]:
    """The polynomial's value at `now` times the mass, and its rise from there to the middle times `of_slope`."""
    places = [coordinate(variable, _ratio(level)) for level in (*nodes, now, to)]
    if len(nodes) < 2 or not all(map(math.isfinite, places)):
        return (mass, *[0.0] * (len(nodes) - 1))
    held, begin = places[:-2], places[-2]
    at_begin, at_middle = lagrange(held, begin), lagrange(held, 0.5 * (begin + places[-1]))
    return tuple(mass * a + of_slope * (b - a) for a, b in zip(at_begin, at_middle, strict=True))


def lagrange(nodes: Sequence[float], at: float) -> list[float]:
    """Values at one point of the polynomials that are 1 at one node and 0 at the others."""
    return [float(basis[0]) for basis in lagrange_array(nodes, np.array([at]))]


def lagrange_array(nodes: Sequence[float], at: Numbers) -> list[Numbers]:
    """The same at many points: one array a node. Raises InputError where two nodes coincide."""
    if len(set(nodes)) < len(nodes):
        raise InputError("two levels of the grid coincide; give levels that strictly decrease.")
    bases = []
    for i, node in enumerate(nodes):
        basis = np.ones_like(at)
        for j, other in enumerate(nodes):
            if j != i:
                basis = basis * ((at - other) / (node - other))
        bases.append(basis)
    return bases


def _path(unknown: Unknown, ratio: float, to: Level, eta: float) -> tuple[Numbers, Numbers]:
    """Points w along the step and the masses N_to dm at them.

    Interior steps run over lambda, where every kernel is smooth; the jump to clean data over w, and the way from
    a start without signal over atan w.
    """
    end = _ratio(to)
    if ratio == math.inf:
        angle, steps = _gauss(math.pi / 2, math.atan(end))
        ratios = np.tan(angle)
        steps = steps * (1.0 + ratios**2)
    elif end == 0.0:
        ratios, steps = _gauss(ratio, 0.0)
    else:
        lam, steps = _gauss(-math.log(ratio), -math.log(end))
        ratios = np.exp(-lam)
        steps = -steps * ratios
    return ratios, _speed(unknown, ratios, to, eta) * steps


def _speed(unknown: Unknown, ratios: Numbers, to: Level, eta: float) -> Numbers:
    """N_to dm / dw."""
    if unknown == "noise":
        return np.full_like(ratios, float(to.alpha))
    if unknown == "flow":
        return _scale("flow", to) / (1.0 + ratios) ** 2
    if unknown == "velocity":
        return _scale("velocity", to) / (1.0 + ratios**2)
    return -(1.0 + eta) * float(to.alpha) * (_ratio(to) / ratios) ** (1.0 + eta) / ratios


def _scale(unknown: Unknown, level: Level) -> float:
    """N; of x0 where there is no SDE noise."""
    alpha, sigma = float(level.alpha), float(level.sigma)
    return {"noise": alpha, "x0": sigma, "flow": alpha + sigma, "velocity": math.hypot(alpha, sigma)}[unknown]


def _gauss(start: float, end: float) -> tuple[Numbers, Numbers]:
    """Points and weights of Gauss-Legendre quadrature from `start` to `end`, in that direction."""
    points, masses = _unit_gauss(_POINTS)
    return start + (end - start) * 0.5 * (points + 1.0), masses * (0.5 * (end - start))


def _ratio(level: Level) -> float:
    return float(level.ratio)
