"""Arguments within their limits, or a sentence that says which these are."""

from __future__ import annotations

import math
import sys
from numbers import Integral, Real

from unnoise.errors import InputError


def whole(name: str, value: object, low: int, high: int, example: int | None = None) -> int:
    """`value` when it is a whole number from `low` to `high`, NumPy's among them; else InputError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        usual = min(max(20, low), high) if high > 1 else low
        raise InputError(
            f"{name} is {value!r}; give a whole number from {low} to {high:,}, for example {example or usual}."
        )
    return int(value)


def number(
    name: str, value: object, low: float, high: float, example: float, unit: str = "a number"
) -> float:
    """`value` when it is a finite number from `low` to `high`; else InputError. unit: what is to be given."""
    plain = isinstance(value, Real) and not isinstance(value, bool)
    # compared, not converted: a whole number of 400 digits is no float; and no nan is within limits
    if not plain or not low <= value <= min(high, sys.float_info.max):  # type: ignore[operator]
        limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise InputError(f"{name} is {value!r}; give {unit} {limits}, for example {example:g}.")
    return float(value)  # type: ignore[arg-type]
