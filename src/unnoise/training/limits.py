"""Settings within their limits, or a sentence that says which these are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

from unnoise.errors import InputError


def number(name: str, value: float, low: float, high: float, example: str) -> None:
    """Raises InputError for what is no number from low to high, or not finite."""
    known = isinstance(value, Real) and not isinstance(value, bool)
    if not known or not low <= value <= high or value == math.inf:
        limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise InputError(f"{name} is {value!r}; give a number {limits}, for example {example}.")


def whole(name: str, value: int, low: int, high: float, example: str) -> None:
    """Raises InputError for what is no whole number from low to high."""
    number(name, value, low, high, example)
    if not isinstance(value, Integral):
        raise InputError(f"{name} is {value!r}; give a whole number, for example {example}.")


def choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises InputError for a word that is none of the choices."""
    if value not in choices:
        raise InputError(f"{name} is '{value}'; give one of {', '.join(choices)}.")
