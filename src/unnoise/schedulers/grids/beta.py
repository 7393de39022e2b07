"""The beta distribution's quantiles, without a statistics library."""

from __future__ import annotations

import math

from unnoise.errors import InputError

_TINY = 1e-300


def beta_quantile(share: float, a: float, b: float) -> float:
    """The point below which a Beta(a, b) variable lies with probability `share`, to rounding; by bisection.

    Raises InputError unless share is in [0, 1] and a, b are positive.
    """
    if not (0.0 <= share <= 1.0 and 0.0 < a < math.inf and 0.0 < b < math.inf):
        raise InputError(
            f"a beta distribution with alpha {a} and beta {b} needs both positive, for example 0.6."
        )
    if share in (0.0, 1.0) or (share == 0.5 and a == b):
        return share
    if share > beta_share(0.5, a, b):  # solve for the distance to 1, which keeps its digits
        return 1.0 - _root(1.0 - share, b, a)
    return _root(share, a, b)


def _root(share: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if beta_share(middle, a, b) < share else (low, middle)
    return 0.5 * (low + high)


def beta_share(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b) by its continued fraction (Abramowitz & Stegun 26.5.8)."""
    if x <= 0.0 or x >= 1.0:
        return float(x > 0.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_share(1.0 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)) from the front (Lentz 1976)."""
    value = front = 1.0
    back = 0.0
    for n in range(1, 500):
        m = n // 2
        if n % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        back = 1.0 / (1.0 + d * back or _TINY)
        front = 1.0 + d / front or _TINY
        value *= front * back
        if abs(front * back - 1.0) < 1e-16:
            break
    return value
