"""A small integrator of ordinary differential equations with an error estimate: Dormand and Prince's 5(4)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from unnoise.errors import NonFiniteError

Slope = Callable[[float, Tensor], Tensor]
"""dy/dt at (t, y); shaped as y."""

# Dormand & Prince 1980: stages, and the difference between the fifth- and the fourth-order weights.
_NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_GAP = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
_MOST = 10_000  # steps before an equation is called too hard


def fixed(slope: Slope, y: Tensor, start: float, end: float, steps: int) -> tuple[Tensor, int]:
    """`steps` equal steps of order five from `start` to `end`: the end, and the number of slopes asked, 6 steps + 1."""
    size, first, calls = (end - start) / steps, slope(start, y), 1
    for index in range(steps):
        y, first, _ = _step(slope, start + index * size, y, size, first)
        calls += 6
    return y, calls


def adaptive(slope: Slope, y: Tensor, start: float, end: float, tolerance: float) -> tuple[Tensor, int]:
    """Steps as long as the error estimate stays below tolerance (1 + |y|): the end, and the number of slopes asked.

    y: (rows, numbers). The error is the root mean square of a row, and the worst row decides, so a row's answer meets
    the tolerance in any company. Slopes of refused steps count. The length of steps follows a proportional-integral
    controller (Gustafsson 1991). Raises NonFiniteError where it gets stuck.
    """
    time, direction = start, math.copysign(1.0, end - start)
    first = slope(start, y)
    size, calls, before = _first_size(slope, y, first, start, end, tolerance), 2, 1.0
    for _ in range(_MOST):
        size = min(size, abs(end - time))
        new, last, gap = _step(slope, time, y, direction * size, first)
        calls += 6
        error = _worst(gap, torch.maximum(y.abs(), new.abs()), tolerance)
        if error <= 1.0:
            time += direction * size
            y, first = new, last
            if abs(end - time) <= 1e-12 * abs(end - start):
                return y, calls
            size *= min(8.0, 0.9 * max(error, 1e-6) ** -0.14 * before**0.08)
            before = max(error, 1e-4)
        else:
            size *= max(0.2, 0.9 * error**-0.2) if math.isfinite(error) else 0.2
        if size < 1e-13 * abs(end - start):
            break
    raise NonFiniteError(
        f"the probability-flow ODE could not be solved beyond {time:.4g} to tolerance {tolerance:g}; give a larger "
        "tolerance or a fixed number of steps, and check the model for values that are not finite."
    )


def _step(slope: Slope, time: float, y: Tensor, size: float, first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    slopes = [first]
    new = y
    for node, weights in zip(_NODES[1:], _STAGES[1:], strict=True):
        new = y + size * _sum(weights, slopes)
        slopes.append(slope(time + node * size, new))
    return new, slopes[-1], size * _sum(_GAP, slopes)


def _sum(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, value in zip(weights[1:], slopes[1:], strict=True):
        total = total.add(value, alpha=weight)
    return total


def _worst(part: Tensor, y: Tensor, tolerance: float) -> float:
    """The root mean square of a row of `part` over tolerance (1 + y), of the row where it is largest."""
    scale = tolerance + tolerance * y
    return float((part / scale).square().mean(1).sqrt().max())


def _first_size(slope: Slope, y: Tensor, first: Tensor, start: float, end: float, tolerance: float) -> float:
    """A first step from how fast the slope turns (Hairer, Norsett & Wanner 1993, sec. II.4); one slope is asked."""
    size = y.abs()
    big, steep = _worst(y, size, tolerance), _worst(first, size, tolerance)
    guess = 0.01 * big / steep if steep > 1e-5 and big > 1e-5 else 1e-6
    guess = min(guess, abs(end - start))
    ahead = slope(start + math.copysign(guess, end - start), y + math.copysign(guess, end - start) * first)
    worst = max(steep, _worst(ahead - first, size, tolerance) / guess)
    step = (0.01 / worst) ** 0.2 if worst > 1e-15 else guess * 1e3
    return min(100.0 * guess, step, abs(end - start))
